# Each target sets up what it needs in its own virtual environment. PYTHON=python3.12 chooses another interpreter.
VENV := .venv
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do $$p -c "$(SUITABLE)" >/dev/null 2>&1 && echo $$p && break; done)
BIN := $(CURDIR)/$(VENV)/bin
DEMO := demo
# Stamps: all that unreel needs (the demo), and all that its tests need.
READY := $(VENV)/.ready
READY_FOR_TESTS := $(VENV)/.ready-for-tests
# On Linux without an NVIDIA driver torch comes from PyTorch's index of builds for processors, since PyPI's brings gigabytes of CUDA.
# TORCH_INDEX= takes PyPI's. Only torch is looked for there, so an index that can't be reached costs some seconds.
TORCH_INDEX ?= $(shell test "$$(uname -sm)" = "Linux x86_64" && ! command -v nvidia-smi >/dev/null && echo https://download.pytorch.org/whl/cpu)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow check docs setup clean
.DEFAULT_GOAL := demo

setup: $(READY_FOR_TESTS)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "unreel needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --no-deps torch
	$(INSTALL) --editable .
	@touch $(READY)

$(READY_FOR_TESTS): $(READY)
	$(INSTALL) --editable '.[dev]'
	@touch $(READY_FOR_TESTS)

demo: $(READY)
	@BIN="$(BIN)" sh examples/demo.sh $(DEMO) "$(VIDEOS)" "$(MINUTES)"

test: $(READY_FOR_TESTS)
	$(BIN)/python -m pytest

test-slow: $(READY_FOR_TESTS) $(VENV)/.slow-tests
	$(BIN)/python -m pytest -m slow

docs: $(READY) $(VENV)/.docs
	$(BIN)/python website/build_site.py

$(VENV)/.docs $(VENV)/.slow-tests: $(READY)
	$(INSTALL) --editable '.[$(subst .,,$(notdir $@))]'
	@touch $@

check: $(READY_FOR_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) build
