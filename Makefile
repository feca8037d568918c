# Rota. `make help` lists what there is.
SHELL       := /bin/bash
TAGS        := hashicorpmetrics
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X main.version=$(VERSION)
GO          := go
TOOL        := $(GO) tool -modfile=tools/go.mod
FUZZTIME    ?= 3s
SEEDS       ?= 1000
MUTANTS     ?= all
TIMEOUT     ?= 15m
# What make e2e passes on; make check leaves out the long stories with -short.
E2EFLAGS    ?=
# What make nemesis passes on; -short leaves four faults.
NEMESISFLAGS ?=
# Everything but the tests that start real clusters of processes.
PACKAGES     = $(shell $(GO) list -tags $(TAGS) ./... | grep -v -e '/e2e$$' -e '/e2e/nemesis$$')

.DEFAULT_GOAL := help
.PHONY: help build demo test race e2e nemesis sim lint fuzz bench bench-placement check clean mutants

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the static binary bin/rota
	CGO_ENABLED=0 $(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/rota ./cmd/rota

demo: build ## three nodes, a job whose node dies, in under 30 seconds; leaves nothing behind
	bin/rota dev --demo

test: ## unit, property and simulation tests; needs Go alone
	CGO_ENABLED=0 $(GO) test -tags $(TAGS) -timeout $(TIMEOUT) $(PACKAGES)

race: ## the same under the race detector, for the packages that have goroutines; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race -short -tags $(TAGS) -timeout $(TIMEOUT) ./agent/... ./api/... ./cluster/... ./clustertest/... ./history/... ./keeper/... ./leader/... ./node/...

e2e: build ## real processes on loopback: clusters, kills, bad days
	CGO_ENABLED=0 ROTA_BIN=$(CURDIR)/bin/rota $(GO) test -tags $(TAGS) -timeout $(TIMEOUT) $(E2EFLAGS) ./e2e

nemesis: build ## real nodes in namespaces of their own among faults of every kind, 20 minutes; needs root
	CGO_ENABLED=0 ROTA_BIN=$(CURDIR)/bin/rota $(GO) test -tags $(TAGS) -timeout 60m -count=1 -v $(NEMESISFLAGS) ./e2e/nemesis

sim: ## SEEDS seeded histories of the whole system over a modelled world
	CGO_ENABLED=0 SEEDS=$(SEEDS) $(GO) test -tags $(TAGS) -timeout 60m -run TestSeeds -v ./e2e/sim

mutants: ## plants each bug of e2e/sim/mutants (MUTANTS=NAME: one) and has the simulation find it
	CGO_ENABLED=0 MUTANTS=$(MUTANTS) $(GO) test -tags $(TAGS) -timeout 120m -run 'TestMutants$$' -v ./e2e/sim

lint: ## formatting, vet and the linters of .golangci.yml
	$(TOOL) golangci-lint run ./...

fuzz: ## every fuzz target for FUZZTIME
	@set -e; for p in $$($(GO) list -tags $(TAGS) ./...); do \
	  for f in $$($(GO) test -tags $(TAGS) -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "fuzz $$p $$f"; CGO_ENABLED=0 $(GO) test -tags $(TAGS) -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$p; \
	  done; done

bench: build ## the Go benchmarks, then the system's own
	CGO_ENABLED=0 $(GO) test -tags $(TAGS) -run '^$$' -bench . -benchtime 1s $(PACKAGES)
	bin/rota bench all --quick

bench-placement: ## placement policies on a public trace: TRACE=dir, see docs/PLACEMENT.md
	@test -n "$(TRACE)" || { echo "say where the trace is: make bench-placement TRACE=dir (docs/PLACEMENT.md says where it is published)" >&2; exit 2; }
	CGO_ENABLED=0 $(GO) run -tags $(TAGS) ./bench/placement/replay -trace "$(TRACE)"

check: lint fuzz race ## lint, fuzz, race, e2e, nemesis and test; what continuous integration runs
	$(MAKE) e2e E2EFLAGS=-short
	$(MAKE) nemesis NEMESISFLAGS=-short
	$(MAKE) test

clean: ## remove what was built
	rm -rf bin
