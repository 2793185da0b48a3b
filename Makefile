# `make` alone lists the targets. Windows: see CONTRIBUTING.md.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow fuzz fuzz-kills lint types docs wheel clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
WHEEL_ENV := build/wheel-env

# One thread for each test process: two processes already fill two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## create .venv and install the package with everything the tests need

# The stamp goes first and comes back last: an environment without it was interrupted, and is built anew.
# Where pyproject.toml or constraints.txt has changed it is only old: pip brings the environment up to date
# in place, and if pip refuses, for example at a slip in pyproject.toml, the stamp stays as old as it was.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make setup: '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing); expected Python 3.11 or newer;" \
	    "name one with 'make setup PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@if ! { [ -e $@ ] && $(BIN)/python -m pip --version >/dev/null 2>&1; }; then $(PYTHON) -m venv --clear .venv; fi
	@if [ -e $@ ]; then mv $@ $@.old; fi
	$(BIN)/python -m pip install -c constraints.txt -e ".[all,dev,docs]" || \
	  { if [ -e $@.old ]; then mv $@.old $@; fi; exit 1; }
	@$(BIN)/python -m pip check
	$(BIN)/python -m hidden_two_stream.export.web_runtime
	@rm -f $@.old
	@touch $@

demo: setup ## the whole story on generated video; the report lands in runs/demo
	$(BIN)/hts demo --out runs/demo

test: setup ## the quick tests; ARGS are handed to pytest
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: setup ## the tests that train for longer
	$(PYTEST) -m slow $(ARGS)

fuzz: setup ## read thousands of damaged files; N and VIDEOS say how many, ARGS are handed on
	$(BIN)/python -m fuzz --files $(or $(N),10000) --videos $(or $(VIDEOS),16000) $(ARGS)

fuzz-kills: setup ## kill trainings and commands at every moment, and fill their disk; ARGS are handed on
	OMP_NUM_THREADS=1 $(BIN)/python -m fuzz.kills $(ARGS)

lint: setup ## style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup ## types
	$(BIN)/mypy --strict src

docs: setup ## build the documentation site into build/site; a warning or a broken link is an error
	$(BIN)/python docs/scripts/build_site.py

wheel: setup ## build the wheel, install it into an empty environment, and run it there
	rm -rf dist $(WHEEL_ENV)
	$(BIN)/python -m build --wheel --outdir dist
	$(PYTHON) -m venv $(WHEEL_ENV)
	$(WHEEL_ENV)/bin/python -m pip install -c constraints.txt dist/*.whl
	cd $(WHEEL_ENV) && time bin/hts --help

clean: ## remove what was built (not .venv, not runs)
	rm -rf build dist .cache .mypy_cache .ruff_cache .pytest_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
