# What a fresh machine needs: Rust, Python 3 with pip, a C++ compiler and make. `make help` lists the targets.

CARGO ?= cargo
export CARGO_TERM_PROGRESS_WHEN ?= auto

.DEFAULT_GOAL := help
.PHONY: help libtorch demo-data build demo demo-base test chaos soak fuzz interop bench bench-peers pictures lint clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

libtorch: ## get libtorch 2.11.0 into .libtorch (LIBTORCH or LIBTORCH_USE_PYTORCH=1: use yours)
	@scripts/get-libtorch.sh

demo-data: ## get the demo's Chinese reviews into .cache/demo
	@scripts/get-reviews.sh

build: libtorch ## build target/release/qwen-tui and qwen-tui-engine
	$(CARGO) build --release --workspace

demo: build demo-data ## the whole job on real Chinese reviews
	target/release/qwen-tui demo

demo-base: build ## make the demo's base model again from nothing (hours)
	scripts/make-demo-base.sh

# The tests of qwen-tui start the engine, so it is built before them; both share the release profile,
# which compiles libtorch's bindings once.
# The test of the demo in the cockpit wants the demo's reviews, and says so where they cannot be had.
test: build ## pass every test
	@scripts/get-reviews.sh || true
	$(CARGO) test --release --workspace

chaos: build ## kill -9 a small run 120 times and go on with it (CHAOS_KILLS, CHAOS_SEED)
	CHAOS_KILLS=$${CHAOS_KILLS:-120} $(CARGO) test --release --workspace --test chaos -- --nocapture

soak: build ## two hours of jobs under one cockpit: memory and open files stay flat (SOAK_MINUTES)
	$(CARGO) test --release --workspace --test soak -- --ignored --nocapture

interop: build ## compare with PEFT, SWIFT 1.5.3, transformers and the hubs' tools, which it installs into .cache (2.1 GB)
	$(CARGO) build --release --workspace --examples
	python3 tests/hub/interop.py
	python3 tests/interop/run.py

# BENCH: more arguments, such as BENCH='--shape qwen-1_8b --json' (`qwen-tui bench --help`).
bench: build ## time training, evaluation, labels and loading (docs/performance.md)
	target/release/qwen-tui bench $(BENCH)

bench-peers: build ## the same beside transformers and PEFT, which it installs into .cache (1.7 GB)
	benches/peers/run.py $(BENCH)

pictures: ## draw the pictures of the README, the snapshots, docs/keys.md and docs/arguments.md again
	UPDATE_SNAPSHOTS=1 $(CARGO) test --release --workspace --test tui
	UPDATE_SNAPSHOTS=1 $(CARGO) test --release --workspace --lib -- tui::keys args::page

# Minutes (model_config) to more than an hour (event_log, tokenizer) a target, each on one core, and ten minutes to build:
# FUZZ="--jobs 4", FUZZ="socket", RUNS=50000.
RUNS ?= 1000000
fuzz: ## give every fuzz target RUNS inputs (1000000; some hours), without libtorch
	scripts/fuzz.py --runs $(RUNS) $(FUZZ)

lint: libtorch ## formatting and clippy, as CI has them
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --release -- -D warnings

clean: ## remove what was built (libtorch and the reviews stay)
	$(CARGO) clean
