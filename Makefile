# Each target sets up what it needs: a virtual environment in .venv, with pinned versions.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: paper test slow lint notebooks bench docs oldest newest dist clean
.DEFAULT_GOAL := test

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.paper: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[io]'
	touch $@

.venv/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[io,dev]'
	touch $@

.venv/.bench: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[io,dev,bench]'
	touch $@

.venv/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[io,docs]'
	touch $@

paper: .venv/.paper ## the paper's figures and a verdict on every claim, into paper/
	$(BIN)/jaxinertia paper --out paper

# Most of the tests' time is XLA's, turning a program into machine code. `make test` asks for plain machine code, which
# costs a third or less: the program that the package makes is the same, and is held to the same oracles and tolerances.
# What could see a difference (bits, memory) is marked `optimised` and compiled as users compile; `make slow` compiles
# the rest so too.
PLAIN := XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
	--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
# The newest JAX has lost one of the switches.
NEWEST := XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
	--xla_cpu_parallel_codegen_split_count=1"
TESTS := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test: .venv/.dev ## the tests, and the first two notebooks as they stand
	$(PLAIN) $(TESTS) -m "not slow and not optimised" tests
	$(TESTS) -m "optimised and not slow" tests
	$(TESTS) --nbmake notebooks/01* notebooks/02*

slow: .venv/.dev ## the longer tests, all others as users compile them, and the other notebooks as they stand
	$(TESTS) -m "slow or not optimised" tests
	$(BIN)/python -m pytest --nbmake notebooks/03* notebooks/04* notebooks/05* notebooks/06* notebooks/07* notebooks/08*

lint: .venv/.dev ## style, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

notebooks: .venv/.dev ## run the notebooks and keep their outputs
	$(BIN)/python -m pytest --nbmake --overwrite notebooks

bench: .venv/.bench ## the tables in benchmarks/results, beside their peers (needs gcc)
	$(BIN)/python -m benchmarks

docs: .venv/.docs ## the site, into build/site: warnings are errors, blocks are run, links are checked
	$(BIN)/python -m sphinx --builder html --doctree-dir build/doctrees --fail-on-warning --keep-going docs build/site
	$(BIN)/python docs/_ext/check_site.py build/site

# The lowest versions that pyproject.toml allows, and the newest there are: a part of the tests that touches every
# folder. Each has an environment of its own, made afresh. Another Python: make newest NEWEST_PYTHON=python3.12
OLDEST_PYTHON ?= python3.11
NEWEST_PYTHON ?= python3.13
PART := tests/test_package.py tests/test_shown.py tests/dynamics/test_trajectory.py tests/dynamics/test_loop.py \
	tests/dynamics/test_given.py tests/dynamics/test_events.py tests/dynamics/sweep/test_labels.py \
	tests/energy/test_balance.py tests/inference/test_observations.py tests/training/test_optimizer.py \
	tests/report/test_plots.py
UV := $(BIN)/uv pip install --quiet --python

oldest: .venv/.dev ## part of the tests, with the lowest versions that are allowed
	$(BIN)/uv venv --quiet --clear --python "$$(command -v $(OLDEST_PYTHON))" .venv-oldest
	$(UV) .venv-oldest --resolution lowest-direct --requirements pyproject.toml --extra io
	# Later ones of pyparsing deprecate what the oldest matplotlib calls.
	$(UV) .venv-oldest "pyparsing<3.3" pytest hypothesis beartype mpmath
	$(PLAIN) PYTHONPATH=. .venv-oldest/bin/python -m pytest -m "not slow and not optimised" $(PART)

newest: .venv/.dev ## part of the tests, with the newest versions there are
	$(BIN)/uv venv --quiet --clear --python "$$(command -v $(NEWEST_PYTHON))" .venv-newest
	$(UV) .venv-newest --requirements pyproject.toml --extra io pytest hypothesis beartype mpmath
	$(NEWEST) PYTHONPATH=. .venv-newest/bin/python -m pytest -m "not slow and not optimised" $(PART)

dist: .venv/.dev ## sdist and wheel in dist/, checked; then in clean environments, without extras and with [io]
	rm -rf dist .venv-dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv-dist
	$(UV) .venv-dist dist/*.whl
	.venv-dist/bin/python -W error tests/installed.py
	$(UV) .venv-dist "$$(echo dist/*.whl)[io]"
	.venv-dist/bin/python -W error tests/installed.py io

clean:
	rm -rf .venv .venv-oldest .venv-newest .venv-dist build dist paper docs/api/generated docs/notebooks docs/benchmarks
