#!/bin/sh
# prepare.sh: builds what the test in a cluster runs: Kubernetes, helm, images, and the test
# itself as $KUBE_DIR/kube.test.
set -eu
cd "$(dirname "$0")"
export KUBE_DIR="${KUBE_DIR:-$(cd ../.. && pwd)/out/kube}"
kit/build.sh
(cd helm && GOFLAGS=-mod=mod go build -o "$KUBE_DIR/helm" helm.sh/helm/v3/cmd/helm)
CGO_ENABLED=0 go build -o "$KUBE_DIR/probe" ./probe
CGO_ENABLED=0 go build -o "$KUBE_DIR/programs" ./programs
kit/image.sh probe.test/probe:1 "$KUBE_DIR/probe" --entrypoint /probe >"$KUBE_DIR/images/probe.tar"
kit/postgres.sh db.test/postgres:15 >"$KUBE_DIR/images/db.tar"
make --no-print-directory -C ../.. image IMAGE=sluice.test/sluice:test
CGO_ENABLED=0 go test -c -trimpath -tags kube -o "$KUBE_DIR/kube.test" .
