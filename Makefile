# `make run` and `make test` work on a bare checkout with Python >= 3.11 and make, nothing else.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
JOBS ?= auto
# images of containers often set it: every process that tests start would compile every module that it imports
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test test-long test-compat test-cloud lint bench clean

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

test: $(READY) lint ## Lint, type-check and run all tests
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

test-long: $(READY) ## Run all tests, and try what is random many times
	@ASYNCCACHE_TEST_LONG=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

test-compat: $(READY) ## Exchange environments with the real metaflow-netflixext, on a local and an S3 root
	@$(BIN)/python -m tests.compat.round_trip

test-cloud: $(READY) ## Run whole Metaflow flows in containers here: Batch, Kubernetes, Argo, Step Functions, Airflow
	@$(BIN)/python -m pytest -m cloud -n 0

lint: $(READY) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY) ## Measure; writes JSON and an HTML page below bench/results
	@$(BIN)/asynccache bench

clean: ## Remove everything that was made here
	rm -rf $(VENV) .cache build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results
