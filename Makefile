# Every entry point of the project. `make` alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup run test faults oracle cluster bless verify fix bench peers families fuzz deny clean

CARGO ?= cargo
# How many random commands `make oracle` compares in each version of RESP, in a quarter of an hour; `make test` compares
# fewer.
STEPS ?= 2000000
# How many seconds `make fuzz` gives each target.
SECONDS_EACH ?= 600
# How often `make faults` lets nodes come and go; `make test` does it once.
ROUNDS ?= 10

help: ## Lists these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what the tests need and the machine lacks
	@scripts/setup

run: ## Builds the server and starts three nodes on 6379, 6380 and 6381 until Ctrl-C
	@$(CARGO) build --release --quiet
	@exec scripts/run-cluster

test: setup ## Runs every test
	@scripts/test

faults: setup ## Writes steadily while nodes are killed, come back, join, drain and go
	@$(CARGO) build --quiet
	@for round in $$(seq $(ROUNDS)); do \
		.venv/bin/python -m pytest --quiet --no-header -p no:cacheprovider tests/clients/test_steady.py; \
	done

oracle: setup ## Holds the reply scripts against redis-server, and compares both servers at length
	@RINGFORT_TEST_SERVER=redis scripts/test --only replies
	@RINGFORT_STEPS=$(STEPS) scripts/test --only differential

cluster: setup ## Holds the reply scripts against three nodes, at rest and while their shards move all the time
	@for servers in cluster moving; do \
		RINGFORT_TEST_SERVER=$$servers $(CARGO) test --package ringfort --test replies --locked --quiet; \
	done

bless: setup ## Rewrites expected replies from redis-server, and generated docs; read the diff before you commit it
	@RINGFORT_TEST_SERVER=redis RINGFORT_BLESS=1 scripts/test --only replies
	@RINGFORT_BLESS=1 scripts/test --only docs

verify: ## The gate: format, lints, tests, docs; changes nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	@$(MAKE) --no-print-directory test
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items --locked --quiet

fix: ## Formats, and applies the lints' own corrections
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged --quiet
	$(CARGO) fmt --all

bench: ## Runs the micro benchmarks
	@$(CARGO) bench --workspace --quiet

peers: setup ## Measures Ringfort and Redis side by side, and writes benches/peers/README.md (half an hour)
	@$(CARGO) build --release --quiet
	@exec benches/peers/run

families: setup ## Measures commands of each family, and bytes per element, beside Redis (half an hour)
	@$(CARGO) build --release --quiet
	@exec benches/families/run

fuzz: ## Feeds each fuzz target with inputs for SECONDS_EACH (needs cargo-fuzz and a nightly toolchain)
	@for target in $$($(CARGO) fuzz list); do \
		mkdir -p fuzz/target/corpus/$$target; \
		$(CARGO) +nightly fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(SECONDS_EACH) -print_final_stats=1 -timeout=20 -rss_limit_mb=4096; \
	done

deny: ## Checks licences and advisories of all dependencies (needs cargo-deny)
	$(CARGO) deny check

clean: ## Removes builds, the packages of the tests and the data of `make run`
	rm -rf target .venv ringfort-data tests/clients/node/node_modules
