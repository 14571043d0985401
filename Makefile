# The two commands of the README are `make run` and `make test`.

CARGO ?= cargo
# Most of a test's time is waiting, for a deadline or for a peer's start: more of them than cores.
TEST_THREADS ?= 6
# For `make soak`.
DURATION ?= 10m
SEED ?=
# For `make fuzz`, each target.
TIME ?= 5m

.PHONY: help run run-query test fuzz-smoke fuzz soak audit release fmt

help: ## What there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Scrape a real exporter through a tunnel on this machine, until Ctrl-C
	@examples/quickstart/run

run-query: ## Make one Prometheus out of two on this machine, until Ctrl-C
	@examples/query/run

test: ## Install what the tests need (as root), then check format, lints and everything else
	@tests/install-peers
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) build --workspace --all-targets --locked
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --workspace --lib --test e2e --locked
	@$(MAKE) --no-print-directory fuzz-smoke

fuzz-smoke: ## Every fuzz target for 10 s, from its seeds
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	CARGO=$(CARGO) fuzz/smoke

fuzz: ## Every fuzz target for TIME (5m), and what it finds is kept in fuzz/corpus
	CARGO=$(CARGO) fuzz/smoke $(TIME)

soak: ## Faults by chance for DURATION (10m), from SEED if given; no test, and not run by CI
	$(CARGO) build --workspace --bins --release --locked
	$(CARGO) run --release --locked --example soak -- --duration=$(DURATION) $(SEED:%=--seed=%)

audit: ## Licences, advisories, duplicates, sources (needs cargo-deny and the open network)
	$(CARGO) deny check

release: ## Both programs as they are shipped, in target/release
	$(CARGO) build --workspace --bins --release --locked
	@ls -l target/release/adit-proxy target/release/adit-client

fmt: ## Format everything
	$(CARGO) fmt --all
