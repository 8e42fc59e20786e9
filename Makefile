# Every target makes the environment that it needs; python3 (3.11 to 3.13) and make are all that a machine must have.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Rounds of the storm, where its chance begins, and how many run side by side.
N ?= 100
SEED ?= 1
AT_ONCE ?= 2
# What is measured (nothing: every row), and how often.
ROWS ?=
RUNS ?= 5

.PHONY: help setup demo test check unit storm bench guarantees reference conformance lock clean

help:
	@echo "make demo         a whole training on this machine, no account needed"
	@echo "make test         every check and every test"
	@echo "make conformance  the Storage suite, against the embedded server or SUPABASE_URL"
	@echo "make storm        kills at random and at every step, for long: make storm N=100 SEED=1 AT_ONCE=2"
	@echo "make bench        how fast and light it is beside others: make bench ROWS='large small' RUNS=5"
	@echo "make guarantees   docs/guarantees.md, made of the tests' marks and names"
	@echo "make reference    docs/jobs.md, its tables made of the models"
	@echo "make setup        the environment alone, in .venv"
	@echo "make lock         resolve the dependencies anew"

# The lock names everything, so nothing is left to resolve: an older pip, asked to, looks past a pin that has an extra.
setup: $(STAMP)

$(STAMP): requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Ferry needs Python 3.11, 3.12 or 3.13; set PYTHON to one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r requirements-dev.lock
	@$(BIN)/python -m pip check --quiet --disable-pip-version-check
	@touch $@

demo: setup
	$(BIN)/python -m local demo

test: check unit

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/hadolint Dockerfile

unit: setup
	$(BIN)/python -m pytest -n 2 --dist loadgroup

storm: setup
	@wrong=0; \
	$(BIN)/python -m tests.scenario.storm $(N) $(SEED) $(AT_ONCE) || wrong=1; \
	FERRY_STORM=1 FERRY_SEED=$(SEED) $(BIN)/python -m pytest -n $$((2 * $(AT_ONCE))) --dist worksteal --timeout 7200 \
		tests/scenario/steps tests/unit/uploader/test_voyages.py tests/unit/uploader/test_broken_ledger.py || wrong=1; \
	exit $$wrong

bench: setup
	$(BIN)/python -m bench $(ROWS) --runs $(RUNS)

guarantees: setup
	$(BIN)/python -m tests.guarantees > docs/guarantees.md.new
	mv docs/guarantees.md.new docs/guarantees.md

reference: setup
	$(BIN)/python -m tests.reference > docs/jobs.md.new
	mv docs/jobs.md.new docs/jobs.md

conformance: setup
	$(BIN)/python -m pytest tests/conformance

lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet uv
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements.lock
	$(VENV)-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --extra local --extra bench --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) .demo .bench
