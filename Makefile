# Each target sets up what it needs in its own virtual environment. PYTHON=python3.12 chooses another interpreter.
VENV := .venv
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python; do $$p -c "$(SUITABLE)" >/dev/null 2>&1 && echo $$p && break; done)
READY := $(VENV)/.ready
BIN := $(CURDIR)/$(VENV)/bin
DEMO := demo

.PHONY: demo test test-slow check docs setup clean
.DEFAULT_GOAL := demo

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "unreel needs Python 3.11 or 3.12; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	@BIN="$(BIN)" sh examples/demo.sh $(DEMO) "$(VIDEOS)" "$(MINUTES)"

test: $(READY)
	$(BIN)/python -m pytest

test-slow: $(READY) $(VENV)/.notebooks
	$(BIN)/python -m pytest -m slow

docs: $(READY) $(VENV)/.docs
	$(BIN)/python website/build_site.py

$(VENV)/.docs $(VENV)/.notebooks: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(subst .,,$(notdir $@))]'
	@touch $@

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) build
