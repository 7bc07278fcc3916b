# What a person does daily. `make` alone lists it.
#
# There is one build profile for everything but benchmarks: tests, the SDK suites and `make dev` run the same artifacts,
# and plain `cargo build`, `cargo test` and `cargo clippy` share them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# CI starts from a fresh clone each time. What it builds and downloads lies outside, so that the next run finds it.
ifeq ($(CI),true)
OUTLAST_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/outlast-ci
CARGO_TARGET_DIR ?= $(OUTLAST_CACHE)/target
CARGO_INCREMENTAL ?= 0
LOCKED := --locked
CARGO_NET_RETRY ?= 10
export CARGO_TARGET_DIR CARGO_INCREMENTAL CARGO_NET_RETRY
endif
OUTLAST_CACHE ?= $(CURDIR)/.cache
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# The server that the SDK suites start.
OUTLAST_BIN ?= $(TARGET)/debug/outlast
export OUTLAST_CACHE OUTLAST_BIN

STAGE := tools/stage
# Docs are for readers of the sources, who see private items too.
RUSTDOC := -D warnings -A rustdoc::private-intra-doc-links
# The generated crates' docs are the API's own.
NO_API := --exclude api --exclude grpc --exclude internal-api
# `make test-long` runs more cases of every property, more seeds of simulated crashes and more trials of damaged files; a
# hundred thousand closed workflows in half a gibibyte; the log on three Cassandra nodes with both variants of Paxos and every
# fault; and the model of the log to a greater depth.
MORE := PROPTEST_CASES=20000 OUTLAST_FAKETIME=1 SHARD_SEEDS=2000 DAMAGE_TRIALS=1000 OUTLAST_MEMORY_LONG=1 OUTLAST_CASSANDRA_LONG=1 OUTLAST_MODEL_DEPTH=long
CARGO_TEST := cargo test --workspace $(LOCKED)

.PHONY: help dev dev-cluster test test-long check bench bench-cassandra bench-scale bench-neighbours bench-against fmt build laws sdk ratchet

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

dev: ## build and run a server on localhost:7233 that keeps its data in .outlast/dev.db
	@mkdir -p .outlast
	cargo run --package cli --bin outlast -- server start-dev --db-filename .outlast/dev.db

dev-cluster: ## build and run a small cluster on this machine: Cassandra, and a process for each role
	cargo build --package cli --package cql-proxy --bins
	deploy/dev-cluster/dev-cluster

test: check build laws sdk ## everything that CI runs
	@tools/tally "$(OUTLAST_CACHE)/stages/cargo-test.log"

check: ## formatting, lints, licenses, links in docs: what is quick and changes nothing
	@$(STAGE) fmt cargo fmt --all --check
	@$(STAGE) deny tools/cargo-deny $(LOCKED) check bans licenses sources
	@$(STAGE) clippy cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings
	@RUSTDOCFLAGS="$(RUSTDOC)" $(STAGE) doc cargo doc --workspace --no-deps --document-private-items $(NO_API) $(LOCKED)

# Binaries and tests together, so that both are built with the same features and nothing is compiled twice.
build:
	@$(STAGE) build cargo build --workspace --bins --tests $(LOCKED)

laws: build
	@$(STAGE) cargo-test $(CARGO_TEST) --no-fail-fast

sdk: build
	@$(STAGE) sdk-python sdk/conformance/run python
	@$(STAGE) sdk-go sdk/conformance/run go
	@$(STAGE) sdk-crash sdk/conformance/run crash-long
	@$(STAGE) sdk-hostile sdk/conformance/run hostile
	@$(STAGE) sdk-cluster sdk/conformance/run cluster

test-long: build ## longer: more cases for every property, more kills
	@$(MORE) $(STAGE) cargo-test-long $(CARGO_TEST) --no-fail-fast
	@$(STAGE) sdk-crash-long sdk/conformance/run crash-long
	@$(STAGE) sdk-hostile-long sdk/conformance/run hostile-long
	@$(STAGE) sdk-cluster-sdk sdk/conformance/run cluster-sdk
	@$(STAGE) sdk-cluster-long sdk/conformance/run cluster-long
	@$(STAGE) sdk-failover sdk/conformance/run failover
	@tools/tally "$(OUTLAST_CACHE)/stages/cargo-test-long.log"

bench: ## build for release, load it over gRPC, print the numbers of docs/performance.md
	cargo build --release --package cli --package loadtest $(LOCKED)
	"$(TARGET)/release/loadtest" bench --server "$(TARGET)/release/outlast"

bench-cassandra: ## the same on one Cassandra node
	cargo build --release --package cli --package loadtest $(LOCKED)
	"$(TARGET)/release/loadtest" bench-cassandra --server "$(TARGET)/release/outlast"

bench-scale: ## the same load on different numbers of shards and of history processes, on one Cassandra node
	cargo build --release --package cli --package loadtest $(LOCKED)
	"$(TARGET)/release/loadtest" scale --server "$(TARGET)/release/outlast"

bench-neighbours: ## what a light client feels of the load of another namespace
	cargo build --release --package cli --package loadtest $(LOCKED)
	"$(TARGET)/release/loadtest" neighbours --server "$(TARGET)/release/outlast"

# Both builds share their dependencies' artifacts; the base's own are kept by revision. AGAINST_ARGS: see `loadtest against --help`.
bench-against: ## build REV too, measure both builds in turn, print figures and ratios: make bench-against REV=main
	@tools/against "$(or $(REV),$(error name the build to compare with: REV=...))" "$(TARGET)" $(AGAINST_ARGS)

fmt: ## format everything
	cargo fmt --all

ratchet: ## record the present sizes as the ones that may not grow
	cargo run --quiet --package tidy -- record
