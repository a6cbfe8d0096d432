# `make` alone lists what there is. CI calls the same targets a person does.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
GO      ?= go
IMAGE   ?= sluicegate.io/sluice:$(VERSION)

# The parser of PostgreSQL is C, so the binary is linked statically by the C compiler.
STATIC = -linkmode external -extldflags -static -s -w
TAGS   = netgo,osusergo

FUZZTIME ?= 60s

export KUBE_DIR ?= $(CURDIR)/out/kube

.DEFAULT_GOAL := help

##@ Every day
build: ## Compile the one static binary, out/sluice
	CGO_ENABLED=1 $(GO) build -tags $(TAGS) -o out/sluice \
	  -ldflags '$(STATIC) -X main.version=$(VERSION) -X main.commit=$(COMMIT)' ./agent/cmd/sluice
image: ## Write the container image, out/sluice-image.tar, with no Docker (IMAGE=name:tag)
	@mkdir -p out/image
	CGO_ENABLED=1 $(GO) build -trimpath -buildvcs=false -tags $(TAGS) -o out/image/sluice \
	  -ldflags '$(STATIC) -X main.version=$(VERSION) -X main.commit=$(COMMIT)' ./agent/cmd/sluice
	$(GO) run ./scripts/image --binary out/image/sluice --name $(IMAGE) --version $(VERSION) --commit $(COMMIT) --out out/sluice-image.tar
demo: ## Show the whole path on this machine, with a real database (root)
	@scripts/setup.sh demo
	@$(MAKE) --no-print-directory -s build
	@scripts/demo.sh
test: ## Everything that CI runs: lint, generated code, all tests (root for all of them)
	@scripts/setup.sh test
	@$(MAKE) --no-print-directory lint generate-check build
	@scripts/test.sh ./...

##@ Parts of it
unit: ## All tests that this user can run, without installing anything
	$(GO) test ./...
lint: ## gofmt, vet, staticcheck, spelling
	@scripts/lint.sh
generate: ## Compile the BPF programs and their bindings again (clang), write the CRDs
	$(GO) generate ./bpf/... ./agent/enroll/cluster
generate-check: ## Fail if what is committed is not what generate makes
	@scripts/generate-check.sh
corpus: build ## The corpora, direct and through Sluice, and the server as oracle (root)
	$(GO) test -count=1 -v -timeout 30m ./test/corpus
	scripts/regress-source.sh out/postgresql
	SLUICE_REGRESS=$(CURDIR)/out/postgresql $(GO) test -count=1 -v -timeout 30m -tags oracle -run TestOracle ./policy/sql
drivers: build ## A session of each driver, direct and through Sluice (root)
	@scripts/setup.sh test
	$(GO) test -count=1 -v -timeout 30m ./test/drivers
e2e: build ## Whole-path tests, bad input among them (root)
	$(GO) test -count=1 -v -timeout 30m ./test/e2e
test-objects: build ## Objects of a cluster, a real API server (root; its binaries in KUBE_DIR)
	$(GO) test -count=1 -tags kube -timeout 10m ./test/objects
fuzz: ## Each fuzz target for FUZZTIME (60s)
	@scripts/fuzz.sh $(FUZZTIME)

##@ Now and then
bench: build ## Compare with direct, PgBouncer and a bare relay; writes out/bench.json (root)
	@scripts/setup.sh bench
	$(GO) run ./test/bench
conformance: build ## Suites of drivers and of PostgreSQL itself, direct and through Sluice (root)
	@scripts/setup.sh test
	$(GO) run ./test/conformance
test-kernels: ## The redirect's and daemons' tests on other kernels, in virtual machines (root)
	@scripts/setup.sh kernels
	@test/kernels/run-all.sh
manifests: ## Render the chart as plain manifests, agent/chart/manifests
	cd test/kube/helm && GOFLAGS=-mod=mod $(GO) build -o $(KUBE_DIR)/helm helm.sh/helm/v3/cmd/helm
	scripts/manifests.sh $(KUBE_DIR)/helm >agent/chart/manifests/sluice.yaml
test-kube: ## Sluice in a real Kubernetes of two nodes, by its chart (root)
	@scripts/setup.sh kube
	test/kube/prepare.sh
	cd test/kube && $(KUBE_DIR)/kube.test -test.v -test.timeout 30m
test-kube-kernels: ## The same on kernels 6.1 and 6.12, in virtual machines (root)
	@scripts/setup.sh kube
	@scripts/setup.sh kernels
	test/kube/prepare.sh
	test/kube/kernels.sh
soak: build ## What is too slow for every day: long fuzzing, random SQL (root)
	@scripts/setup.sh soak
	$(GO) test -count=1 -v -timeout 30m -tags soak ./test/soak -smith 10m
	SLUICE_CHAOS_ROUNDS=14 $(GO) test -count=1 -v -timeout 60m -run TestChaosVolume ./protocol/postgres
	@scripts/fuzz.sh 30m
clean: ## Remove ./out
	rm -rf out

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build image demo test unit lint generate generate-check corpus drivers e2e fuzz bench conformance test-kernels test-kube test-kube-kernels manifests soak clean help
