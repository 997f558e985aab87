# One command for each thing that people do here; `make` lists them.

CARGO ?= cargo

.PHONY: help demo test storm power-cuts lint fmt bench bench-parts soak conformance producers manifests image sbom cluster book fuzz

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 22

# Built together and not quietly: the first build takes minutes, and cargo shows how far it is.
demo: ## Run the driver, a registry and kubelet's calls; no root, no set-up, nothing left behind
	$(CARGO) build --bin skillmount --example demo
	@$(CARGO) run --quiet --example demo

test: ## Run all tests (SKILLMOUNT_TEST_NO_NAMESPACES=1 skips those that mount)
	$(CARGO) test --all-targets
	$(CARGO) test --features otel --test otel
	$(CARGO) test --doc

KILLS ?= 1000

storm: ## Kill the driver 1,000 times in a storm of calls, in minutes: KILLS=100 SEED=1
	SKILLMOUNT_STORM_KILLS=$(KILLS) $(if $(SEED),SKILLMOUNT_STORM_SEED=$(SEED)) \
		$(CARGO) test --test storm a_storm -- --nocapture

CUTS ?= 120

power-cuts: ## Cut the power 120 times in a storm of calls, as root: CUTS=1000 SEED=1
	SKILLMOUNT_POWER_CUTS=$(CUTS) $(if $(SEED),SKILLMOUNT_POWER_SEED=$(SEED)) \
		$(CARGO) test --test power -- --nocapture

lint: ## Check format, lints, documentation and dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) clippy --features otel --test otel -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		echo '$(CARGO) deny check'; $(CARGO) deny check; \
	else \
		echo 'cargo-deny is not installed: dependencies are not checked (cargo install cargo-deny)'; \
	fi

fmt: ## Format the code
	$(CARGO) fmt

# What is measured is what the image ships: profile dist, static where there is a compiler for that.
# What it is compared with is one that cargo built without the features that tests add to its
# dependencies.
TARGET_DIR = $(or $(CARGO_TARGET_DIR),target)
MUSL = $(shell uname -m)-unknown-linux-musl
MUSL_LIBRARIES = $(shell rustc --print target-libdir --target $(MUSL) 2>/dev/null)
STATIC = $(and $(shell command -v musl-gcc),$(wildcard $(MUSL_LIBRARIES)),--target $(MUSL))

DIST = $(abspath $(TARGET_DIR))/$(if $(STATIC),$(MUSL)/)dist/skillmount

bench: ## Measure beside other tools, and print a table: WHOLE='--only warm' for a part
	$(CARGO) build --profile dist --bin skillmount $(STATIC)
	$(CARGO) build --release --bin skillmount
	mkdir -p $(TARGET_DIR)/bench && cp $(TARGET_DIR)/release/skillmount $(TARGET_DIR)/bench/skillmount
	$(CARGO) bench --bench whole -- --binary $(DIST) \
		--compare 'profile release, dynamic=$(abspath $(TARGET_DIR))/bench/skillmount' $(WHOLE)

bench-parts: ## Measure unpacking, and publishing over the socket, with criterion
	$(CARGO) bench --bench unpack --bench publish

SOAK ?= --minutes 30 --write-docs

soak: ## Run the driver under load for long, and plot what it takes: SOAK='--minutes 5'
	$(CARGO) build --profile dist --bin skillmount $(STATIC)
	$(CARGO) bench --bench soak -- --binary $(DIST) $(SOAK)

conformance: ## Run csi-sanity, the image, the tools that push skills, and those that deploy
	sh tests/conformance/run.sh

producers: ## Only compare what the tools push with what is pulled
	$(CARGO) build
	bash tests/conformance/producers.sh --install

manifests: ## Only check what deploys the driver, with Helm, kustomize and schemas
	$(CARGO) build
	bash tests/conformance/manifests.sh --install

image: ## Build the image as it is shipped, and run it with runc as the DaemonSet says; as root
	bash tests/conformance/image.sh image
	SKILLMOUNT_CONFORMANCE=1 $(CARGO) test --test conformance image::
	@cat .tools/conformance/image-*.summary

sbom: ## Write the software bill of materials to .tools/image/skillmount.cdx.json
	bash tests/conformance/image.sh sbom

cluster: ## Run the driver with a real kubelet, containerd and API server; as root
	sh tests/cluster/run.sh

book: ## Make HTML of docs/ in target/book (cargo install mdbook)
	mdbook build docs

TARGET ?= unpack
SECONDS ?= 60

# Needs a nightly compiler and cargo-fuzz. First the seeds, which run on any compiler.
fuzz: ## Fuzz a parser: TARGET=tar SECONDS=600; docs/testing.md lists the targets
	SKILLMOUNT_FUZZ_CORPUS=fuzz/corpus $(CARGO) test --quiet --test fuzz_seeds
	$(CARGO) +nightly fuzz run $(TARGET) -- -max_total_time=$(SECONDS) -timeout=10 \
		-rss_limit_mb=2048 -print_final_stats=1
