# Two commands for a newcomer: `make demo` and `make test`. Both set up their own virtual environment first,
# and again only when pyproject.toml or constraints.txt has changed.
#
#   make demo PYTHON=python3.12     another Python (3.11 to 3.13)
#   make test TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                                   the CPU build of torch, where PyPI's is the larger CUDA build (Linux x86-64)
#   make test PYTEST_ARGS='-m "not slow"'   only the quick tests
#   make test TEST_PROCESSES=0      all tests in one process, as a debugger needs it
#   make demo DEMO_ARGS='--images photos'   options of `engine demo`

# The first of these that is 3.11 to 3.13; `python3`, and its message, when none is.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& { echo $$python; exit; }; done; echo python3)
endif
TORCH_INDEX ?=
PYTEST_ARGS ?=
# More take much memory: each may export a backbone of some gigabytes. The tests of a file stay together.
TEST_PROCESSES ?= 2
DEMO_ARGS ?=

# Others' programs that tests compare with; elsewhere not all of them come as wheels, and those tests are skipped.
comma := ,
PEERS ?= $(if $(filter Linux-x86_64,$(shell uname -s)-$(shell uname -m)),$(comma)peers)

DEMO_PYTHON := .venv/bin/python
TEST_PYTHON := .venv-test/bin/python
PIP_FLAGS := --disable-pip-version-check --quiet --constraint constraints.txt

ifeq ($(OS),Windows_NT)
$(error This Makefile is for Linux, macOS and WSL. On Windows use the container (docs/docker.md), or WSL)
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: .venv/installed ## match made-up aerial photographs with the bundled backbone (no torch)
	$(DEMO_PYTHON) -m engine demo $(DEMO_ARGS)

test: lint ## everything that must hold: format, lint, types, tests
	$(TEST_PYTHON) -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: .venv-test/installed ## format, lint and types only
	$(TEST_PYTHON) -m ruff format --check .
	$(TEST_PYTHON) -m ruff check .
	$(TEST_PYTHON) -m mypy

format: .venv-test/installed ## rewrite the sources in the project's format
	$(TEST_PYTHON) -m ruff format .
	$(TEST_PYTHON) -m ruff check --fix .

clean: ## remove the virtual environments, caches and build leftovers
	rm -rf .venv .venv-test build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/installed: pyproject.toml constraints.txt
	@$(call make_venv,.venv)
	$(DEMO_PYTHON) -m pip install $(PIP_FLAGS) setuptools
	$(DEMO_PYTHON) -m pip install $(PIP_FLAGS) --no-build-isolation --editable '.[cpu]'
	@touch $@

.venv-test/installed: pyproject.toml constraints.txt
	@$(call make_venv,.venv-test)
	$(TEST_PYTHON) -m pip install $(PIP_FLAGS) setuptools
	$(TEST_PYTHON) -m pip install $(PIP_FLAGS) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--no-build-isolation --editable '.[cpu,export,test$(PEERS)]'
	@touch $@

# $(1): folder. An unfinished one is removed first, so that a second try begins anew.
define make_venv
command -v $(PYTHON) >/dev/null || { echo "error: no '$(PYTHON)' here; install Python 3.11 to 3.13, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }; \
$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "error: $$($(PYTHON) --version 2>&1) is not supported; this project needs Python 3.11 to 3.13. Name one: make PYTHON=python3.12" >&2; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }; \
rm -rf $(1); echo "$(PYTHON) -m venv $(1)"; $(PYTHON) -m venv $(1)
endef
