PYTHON ?= python3
BIN := .venv/bin
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal $(ARGS)
# the largest instruction sets that ATen, oneDNN and MKL may use (MKL ignores the limit on AMD processors)
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
NO_VECTORS := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2

.PHONY: demo test test-isa quick soak check format setup bench docs clean

demo: .venv/ready  ## train on the embedded digits, evaluate, draw figures
	$(BIN)/resmlp demo

test: .venv/ready  ## run all tests, a process with one thread on each core; ARGS="-x" stops at the first failure
	$(PYTEST)

test-isa: .venv/ready  ## run the numeric tests with several instruction sets and thread counts
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m isa $(ARGS)
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m isa $(ARGS)
	OMP_NUM_THREADS=1 $(AVX2) $(BIN)/python -m pytest -m isa $(ARGS)
	OMP_NUM_THREADS=2 $(AVX2) $(BIN)/python -m pytest -m isa $(ARGS)
	OMP_NUM_THREADS=1 $(NO_VECTORS) $(BIN)/python -m pytest -m isa $(ARGS)

quick: .venv/ready  ## run the tests that take less than a second each
	$(PYTEST) -m "not slow and not soak"

soak: .venv/ready  ## give the readers of files hundreds of thousands of damaged ones; SOAK_ROUNDS=N for each
	$(PYTEST) -m soak --timeout 0 tests/faults

check: .venv/ready  ## check format, lint, spelling, types, import layers and documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python docs/build.py --check
	$(BIN)/python docs/links.py

format: .venv/ready  ## format the code and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready  ## measure this machine; writes results/
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

setup: .venv/ready  ## create .venv with all extras and the development tools

# pip 25.1 and newer know --group. The last line marks the environment as complete, so make repeats an interrupted set-up.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("resmlp needs Python 3.11 or newer: make PYTHON=python3.12 setup") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable '.[all]'
	touch $@

clean:  ## remove the environment and everything that tools write
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
