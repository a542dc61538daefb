# Everything from nothing, on a machine with Python 3.11+ and make: `make demo`, `make test`.

# The first of these that runs and is new enough; `make PYTHON=/path/to/python …` chooses another.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo "$$p" && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
# Size of the benchmarks: small or full.
SIZE ?= full
# More for pytest, as in `make test ARGS="-k lineage"`.
ARGS ?=
# What `make constraints` must not raise: mlflow wants pyarrow<26, and later versions of deltalake must first pass our tests.
HOLD := pyarrow==25.0.1 deltalake==1.6.3
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo test jars lint format types imports bench reference docs docs-serve constraints clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## Set up, and run the demo on sample_data/ (under a minute after install)
	$(BIN)/lakelineage demo

test: $(VENV)/.dev jars ## Set up, and run all tests (ARGS="-k name" for some)
	$(BIN)/python -m pytest -n auto $(ARGS)

# 3: there is no Java or no Maven, and the tests on Spark and in Java are skipped. Where there are, a failing download fails here.
jars: $(VENV)/.dev ## Delta Lake and MLflow's Java client for the tests, got by Maven once
	@$(BIN)/python tests/jars.py || [ $$? -eq 3 ]
	@$(BIN)/python tests/jars.py client || [ $$? -eq 3 ]

lint: $(VENV)/.dev ## Style rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## Put the code into the one format, and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## Type check, strict
	$(BIN)/mypy

imports: $(VENV)/.dev ## Who may import whom (docs/architecture.md)
	$(BIN)/lint-imports

bench: $(VENV)/.dev ## Benchmarks, against MLflow on SQLite in the same run (SIZE=small or full)
	$(BIN)/python -m benchmarks --size $(SIZE)

reference: $(VENV)/.dev ## Write docs/tables.md and docs/cli.md from the declarations
	$(BIN)/python -m lakelineage.tables.reference > docs/tables.md
	$(BIN)/python -m lakelineage.cli.reference > docs/cli.md

docs: $(VENV)/.dev ## Build the documentation site into site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

docs-serve: $(VENV)/.dev ## The documentation site on this machine, anew with each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

constraints: ## Resolve all dependencies anew, and write constraints.txt
	rm -rf $(VENV)-constraints
	$(MAKE) --no-print-directory VENV=$(VENV)-constraints $(VENV)-constraints/bin/python
	$(VENV)-constraints/bin/python -m pip --disable-pip-version-check install --quiet -e ".[dev]" $(HOLD)
	{ echo "# Exact versions that the tests run on. Made by \`make constraints\`; do not edit."; \
	  $(VENV)-constraints/bin/python -m pip --disable-pip-version-check freeze --exclude-editable \
	    | grep -E '^[A-Za-z0-9._-]+==' | LC_ALL=C sort -f; } > constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf $(VENV)-constraints

clean: ## Remove the virtual environment and all caches
	rm -rf $(VENV) $(VENV)-constraints build dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than Python 3.11; name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments: it lacks venv or ensurepip." >&2; \
	       echo "On Debian and Ubuntu, install python3-venv (or python3.11-venv for that version)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps hold until dependencies change. The installs are editable: changes of the code need no new one.
$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) …"
	@$(PIP) install --quiet --constraint constraints.txt --editable ".[demo]"
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (a few minutes the first time) …"
	@$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.demo
