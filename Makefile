# `make demo` and `make test` are all that a newcomer needs: both make .venv from the lock file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two processes of tests; those of one file stay together, as they share what they set up.
TWO := -n 2 --dist loadfile

.PHONY: demo test test-all lint types bench bench-report lock clean

demo: $(READY)
	$(BIN)/s5 demo --out out/demo

test: $(READY)
	$(BIN)/pytest -q $(TWO) -m "not slow"

test-all: $(READY)
	$(BIN)/pytest -q $(TWO)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# About a quarter of an hour on two cores; benchmarks/README.md says what is measured and how. What
# is published in benchmarks/results, of larger sizes, is left as it is.
bench: $(READY)
	$(BIN)/python -m benchmarks.suite --results out/bench/results
	$(BIN)/python -m benchmarks.report out/bench/results out/bench/report.md

# Tables and plots from the published results, without measuring anything.
bench-report: $(READY)
	$(BIN)/python -m benchmarks.report

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "s5engine needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Resolve the dependencies anew (needs pip-tools); torch's version is pinned in lock.in.
lock:
	$(PYTHON) -m piptools compile --quiet --extra dev --strip-extras --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-emit-options --constraint lock.in \
		--output-file requirements.lock pyproject.toml
	sed -i.bak 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.lock && rm requirements.lock.bak

clean:
	rm -rf $(VENV) out
