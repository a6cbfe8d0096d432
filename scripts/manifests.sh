#!/bin/sh
# manifests.sh HELM: prints the chart as plain manifests, for kubectl apply. What Helm does
# when a release is deleted is left out: docs/kubernetes.md says what to do instead.
set -eu
cd "$(dirname "$0")/.."
cat <<'Y'
# Made by make manifests.
---
apiVersion: v1
kind: Namespace
metadata: {name: sluice-system}
Y
"$1" template sluice agent/chart -n sluice-system --kube-version 1.34 --set uninstall=false
