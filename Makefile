# `make demo` and `make test` are all that a newcomer needs: both make .venv from a lock file, the
# demo's with nothing that only tests and benchmarks need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SMALL := $(VENV)/.demo
# Three processes of tests for two cores, as a quarter of the time is spent waiting; those of one
# file stay together, as they share what they set up.
SPREAD := -n 3 --dist loadfile
# Torch's threads of several processes would wait for one another on two cores, spinning.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: demo test test-all test-expressions test-seeds lint types bench bench-report lock clean

# What the tests have installed serves the demo as well.
demo: $(if $(wildcard $(READY)),$(READY),$(SMALL))
	$(BIN)/s5 demo --out out/demo

test: $(READY)
	$(ONE_THREAD) $(BIN)/pytest -q $(SPREAD) -m "not slow"

test-all: $(READY)
	$(BIN)/pytest -q $(SPREAD)

# dask's arrays of expressions, which are to replace its graphs: what they can do already.
test-expressions: $(READY)
	DASK_ARRAY__QUERY_PLANNING=True $(ONE_THREAD) $(BIN)/pytest -q $(SPREAD) -m "not slow and not graphs" \
		tests/unit/infer/test_run.py tests/unit/infer/test_spread.py tests/unit/infer/test_plan.py \
		tests/unit/infer/test_distributed.py tests/parity/test_inference.py tests/faults/test_torn_units.py \
		tests/property/test_tiling.py tests/property/test_ink_in_its_own_right.py

# Nothing may hang on Python's hash seed: five drawn ones, each printed, so that it can be had again.
test-seeds: $(READY)
	for seed in $$($(BIN)/python -c 'import secrets; print(*(secrets.randbelow(2**32) for _ in range(5)))'); do \
		echo "PYTHONHASHSEED=$$seed"; \
		PYTHONHASHSEED=$$seed $(ONE_THREAD) $(BIN)/pytest -q $(SPREAD) -m "not slow" || exit 1; \
	done

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

$(READY): LOCK := requirements.lock
$(SMALL): LOCK := requirements-demo.lock
$(READY): requirements.lock pyproject.toml
$(SMALL): requirements-demo.lock pyproject.toml
$(READY) $(SMALL):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "s5engine needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# Resolve the dependencies anew (needs pip-tools); torch's version is pinned in lock.in. The demo's
# versions are those of the tests.
COMPILE := $(PYTHON) -m piptools compile --quiet --strip-extras --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-emit-options
lock:
	$(COMPILE) --extra dev --constraint lock.in --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file requirements-demo.lock pyproject.toml
	sed -i.bak 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.lock requirements-demo.lock
	rm requirements.lock.bak requirements-demo.lock.bak

clean:
	rm -rf $(VENV) out
