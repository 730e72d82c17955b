# `make run` and `make test` work on a bare checkout with Python >= 3.11 and make, nothing else.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# tests wait for servers and for what they started: one more than there are processors keeps these busy
JOBS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# measured: 84.7, without what only processes of their own run
COVERAGE ?= 84
SEED ?= 1
RUNS ?= 1000000
KILLS ?= 1000
PACKAGES ?= 20000
STEPS ?= 10000
ENVIRONMENTS ?= 1000
PYTHONS ?= $(shell for p in 3.11 3.12 3.13 3.14; do python$$p -c '' 2>/dev/null && echo python$$p; done)
# what runs the same whatever the interpreter; others build packages of the one that runs them
LIBRARY := api archive bench catalog config engine model node runtime store
CELL ?=
STORE ?=
# images of containers often set it: every process that tests start would compile every module that it imports
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test test-long test-matrix test-library test-compat test-cloud test-faults test-kills test-scale test-gc test-replicate fuzz lint bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY) ## Make the virtual environment with everything that tests and benchmarks need

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later was not found: install it, or name it with make PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --quiet --user virtualenv && $(PYTHON) -m virtualenv --quiet $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[bench,dev]'
	@touch $@

run: $(READY) ## Cache a real environment's packages from a channel on loopback into a local store
	@$(BIN)/python -m examples.first_run

test: $(READY) lint ## Lint, type-check and run all tests, which run COVERAGE percent of all lines at least
	@ASYNCCACHE_TEST_COVERAGE=$(COVERAGE) $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

test-long: $(READY) ## Run all tests, and try what is random many times
	@ASYNCCACHE_TEST_LONG=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

test-matrix: ## Run the tests of the library with each Python of PYTHONS, by default each from 3.11 to 3.14 that is here
	@for python in $(PYTHONS); do version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') && echo "Python $$version" \
		&& $(MAKE) --no-print-directory test-library VENV=.cache/matrix/$$version PYTHON=$$python || exit 1; done

test-library: $(READY)
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(addprefix tests/,$(LIBRARY))

test-compat: $(READY) ## Exchange environments with the real metaflow-netflixext, and compare what both find, print and leave
	@$(BIN)/python -m tests.compat.round_trip

test-faults: $(READY) ## Break the answers of channel and store in 28 ways under 11 commands; SEED=N, STORE=s3|azure|gs|local, CELL=FAULT/COMMAND
	@$(BIN)/python -m tests.faults.run --seed $(SEED) --store "$(STORE)" --cell "$(CELL)" --write docs/faults.md

test-kills: $(READY) ## Kill processes KILLS times at random moments; SEED=N
	@$(BIN)/python -m tests.kills.run --kills $(KILLS) --seed $(SEED)

test-scale: $(READY) ## Backfill PACKAGES small packages on SeaweedFS, killed 20 times; four shards list them
	@$(BIN)/python -m tests.scale.run --packages $(PACKAGES) --seed $(SEED)

test-replicate: $(READY) ## Copy ENVIRONMENTS environments from SeaweedFS to Azurite and back, killed 10 times each way
	@$(BIN)/python -m tests.scale.replicate --environments $(ENVIRONMENTS) --seed $(SEED)

test-gc: $(READY) ## Collect in a local store beside 4 processes that make environments of it, STEPS steps; SEED=N
	@$(BIN)/python -m tests.collecting.run --steps $(STEPS) --seed $(SEED)

fuzz: $(READY) ## Try the reader with RUNS mutated packages of SEED, and other programs with 5000 that it accepts
	@nice -n 10 $(BIN)/python -m tests.fuzz.run --runs $(RUNS) --seed $(SEED)
	@nice -n 10 $(BIN)/python -m tests.fuzz.programs --seed $(SEED)

test-cloud: $(READY) ## Run whole Metaflow flows in containers here: Batch, Kubernetes, Argo, Step Functions, Airflow
	@$(BIN)/python -m pytest -m cloud -n 0

lint: $(READY) ## ruff, mypy, and vulture: what nothing uses
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/vulture

bench: $(READY) ## Measure; writes JSON and an HTML page below bench/results
	@$(BIN)/asynccache bench

clean: ## Remove everything that was made here
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results
