# `make demo` runs the main job, `make test` the tests; both set up what they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help setup demo test check simulate bench report clean
.DEFAULT_GOAL := help

help:  ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with ttgctl in it

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ttgctl needs Python 3.11 or newer; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup  ## Run a fault-tolerant sweep with a worker killed in the middle
	$(BIN)/ttgctl demo --fault-demo

test: setup check  ## Run all checks and tests
	$(BIN)/pytest -n 2 --dist loadgroup

check: setup  ## Lint, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

simulate: setup  ## Whole runs in virtual time, with everything going wrong: 1,000 new seeds, or ARGS="SEED"
	PYTHONPATH=tests PYTHONHASHSEED=0 $(BIN)/python -m simulation $(ARGS)

bench: setup  ## Measure throughput side by side with the raw clients, Celery and Dramatiq
	PYTHONPATH=tests $(BIN)/python -m benchmarks $(ARGS)

report: setup  ## Write the status report over all runs on this machine: status-report.docx
	$(BIN)/ttgctl report --template docs/status-report.md.j2 --format docx --out status-report.docx

clean:  ## Remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
