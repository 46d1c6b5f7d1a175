PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check format setup bench docs clean

demo: .venv/ready  ## train on embedded digits, evaluate, draw
	$(BIN)/resmlp demo

test: .venv/ready  ## all tests but the benchmarks
	$(BIN)/python -m pytest

check: .venv/ready  ## format, lint, types, floors, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/build.py --check

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready  ## what the machine gives; writes results/
	$(BIN)/python benchmarks/engine_overhead.py
	$(BIN)/python benchmarks/timm_suite.py
	$(BIN)/python benchmarks/data_check.py
	$(BIN)/python benchmarks/knn.py
	$(BIN)/python benchmarks/large_image.py
	$(BIN)/python benchmarks/profile_check.py
	$(BIN)/python benchmarks/inference.py
	$(BIN)/python benchmarks/training_step.py

docs: .venv/ready  ## write the tables of README.md and docs/ from results/
	$(BIN)/python docs/build.py

setup: .venv/ready  ## the environment alone, with all extras

# made aside and marked last, so that an interrupted installation is started anew
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("resmlp needs Python 3.11 or newer: make PYTHON=python3.12 setup") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
