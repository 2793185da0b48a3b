# `make` alone lists the targets. Windows: see CONTRIBUTING.md.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow fuzz fuzz-kills bench coverage mutation lint types docs wheel hashes audit clean

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
WHEEL_ENV := build/wheel-env

# One thread for each test process: two processes already fill two cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## create .venv and install the package with everything the tests need; HASHES=1 checks each file

# The stamp goes first and comes back last: an environment without it was interrupted, and is built anew.
# Where pyproject.toml or constraints.txt has changed it is only old: pip brings the environment up to date
# in place, and if pip refuses, for example at a slip in pyproject.toml, the stamp stays as old as it was.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "make setup: '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo missing); expected Python 3.11 or newer;" \
	    "name one with 'make setup PYTHON=/path/to/python3.11'" >&2; exit 1; }
	@if ! { [ -e $@ ] && $(BIN)/python -m pip --version >/dev/null 2>&1; }; then $(PYTHON) -m venv --clear .venv; fi
	@if [ -e $@ ]; then mv $@ $@.old; fi
	$(if $(HASHES),$(BIN)/python -m pip install --require-hashes --no-deps -r constraints-hashes.txt)
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

bench: setup ## time this machine into build/bench.json, and compare with a committed TABLE
	$(BIN)/hts bench -o build/bench.json $(ARGS)
	$(BIN)/python benchmarks/guard.py $(or $(TABLE),docs/bench-epyc.json) --measured build/bench.json

coverage: setup ## branch coverage of the package by the quick tests, commands and workers included
	rm -rf build/coverage
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -n 2 -m "not slow" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutation: setup ## change the code in small ways and see whether tests notice; ARGS are handed on, --help lists them
	$(BIN)/python -m pip install -c constraints.txt -e ".[mutation]"
	$(BIN)/python benchmarks/mutation.py $(ARGS)

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

hashes: ## write constraints-hashes.txt anew from constraints.txt; needs an index that gives SHA-256 hashes
	$(PYTHON) -m venv --clear build/uv-env
	build/uv-env/bin/python -m pip install uv
	echo "# The files of constraints.txt by hash: made by \`make hashes\`, used by \`make setup HASHES=1\`." > build/hashes.txt
	build/uv-env/bin/uv pip compile constraints.txt --python $(PYTHON) --no-deps --no-emit-package torch \
	  --generate-hashes --no-header --no-annotate --quiet >> build/hashes.txt
	mv build/hashes.txt constraints-hashes.txt

audit: ## look the pinned versions up in the advisory database of PyPI; needs the network
	$(PYTHON) -m venv --clear build/audit-env
	build/audit-env/bin/python -m pip install pip-audit
	build/audit-env/bin/pip-audit --strict --no-deps --disable-pip -r constraints.txt

clean: ## remove what was built (not .venv, not runs)
	rm -rf build dist mutants .cache .hypothesis .mypy_cache .ruff_cache .pytest_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
