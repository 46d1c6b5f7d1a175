PYTHON ?= python3
BIN := .venv/bin
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal $(ARGS)
# the largest instruction sets that ATen, oneDNN and MKL may use (MKL ignores the limit on AMD processors)
AVX2 := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
NO_VECTORS := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2

# benchmarks that read no data; that of GPUs where there is one
BENCHMARKS := engine_overhead timm_suite knn large_image profile_check inference precisions training_step grid_step \
	decoding serving first_answer packed_start packed_reading kills $(if $(shell command -v nvidia-smi),accelerator)
# benchmarks that read data sets, and where these lie: in DATA, or each at a path of its own
DATA_BENCHMARKS := data_check input_pipeline pack compression transfer imbalance dino distillation camvid multi30k \
	multilabel resolution native_size translation_precision data_and_budget
CIFAR10 ?= $(DATA)/cifar10
CALTECH20 ?= $(DATA)/caltech20
IMAGENET_SAMPLES ?= $(DATA)/imagenet_samples
CAMVID ?= $(DATA)/camvid
MULTI30K ?= $(DATA)/multi30k
ifeq ($(origin PATH),command line)
$(error PATH is where the shell finds its programs (make bench-data DATA=FOLDER))
endif

.PHONY: demo test test-isa quick soak check format setup bench bench-data docs clean \
	$(BENCHMARKS:%=bench/%) $(DATA_BENCHMARKS:%=bench-data/%)

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
	$(BIN)/python docs/plan.py --check
	$(BIN)/python docs/links.py
	$(BIN)/python docs/website/floors.py --check

format: .venv/ready  ## format the code and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/ready  ## measure this machine with all benchmarks that read no data, one after the other; writes results/
	$(MAKE) -k -j1 $(BENCHMARKS:%=bench/%)

bench-data: .venv/ready  ## run the benchmarks that read data sets; DATA=FOLDER has cifar10/, caltech20/, camvid/, ...
	@test -n "$(DATA)" || { echo "error: bench-data needs data sets (make bench-data DATA=FOLDER)" >&2; exit 2; }
	$(MAKE) -k -j1 $(DATA_BENCHMARKS:%=bench-data/%)

$(BENCHMARKS:%=bench/%): bench/%: .venv/ready
	$(BIN)/python benchmarks/$*.py

bench-data/data_check: .venv/ready
	$(BIN)/python benchmarks/data_check.py --data "$(CALTECH20)" "$(IMAGENET_SAMPLES)"

bench-data/input_pipeline: .venv/ready
	$(BIN)/python benchmarks/input_pipeline.py --data "$(IMAGENET_SAMPLES)/imagenet_samples_256.tar"

bench-data/compression: runs/cifar10/model.safetensors
	$(BIN)/python benchmarks/compression.py --data "$(CIFAR10)"

bench-data/transfer: runs/cifar10/model.safetensors
	$(BIN)/python benchmarks/transfer.py --data "$(CALTECH20)"

bench-data/resolution: .venv/ready
	$(BIN)/python benchmarks/resolution.py cifar10 --data "$(CIFAR10)"
	$(BIN)/python benchmarks/resolution.py caltech20 --data "$(CALTECH20)"

bench-data/imbalance bench-data/native_size: bench-data/%: .venv/ready
	$(BIN)/python benchmarks/$*.py --data "$(CALTECH20)"

bench-data/dino bench-data/distillation bench-data/pack bench-data/data_and_budget: bench-data/%: .venv/ready
	$(BIN)/python benchmarks/$*.py --data "$(CIFAR10)"

bench-data/camvid: .venv/ready
	$(BIN)/python benchmarks/rivals.py camvid --data "$(CAMVID)"

bench-data/multilabel: .venv/ready
	$(BIN)/python benchmarks/multilabel.py --data "$(CAMVID)"

bench-data/multi30k: .venv/ready
	$(BIN)/python benchmarks/rivals.py multi30k --data "$(MULTI30K)"

bench-data/translation_precision: .venv/ready
	$(BIN)/python benchmarks/translation_precision.py --data "$(MULTI30K)"

runs/cifar10/model.safetensors: | .venv/ready
	$(BIN)/resmlp train cifar10 --data.root "$(CIFAR10)" --run.compile

docs: .venv/ready  ## write the tables of README.md and docs/ from results/, the floors, and the site of all pages to site/
	$(BIN)/python docs/build.py
	$(BIN)/python docs/plan.py
	$(BIN)/python docs/website/floors.py
	$(BIN)/python docs/website/build.py

setup: .venv/ready  ## create .venv with all extras and the development tools

# pip 25.1 and newer know --group. The last line marks the environment as complete, so make repeats an interrupted set-up.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("resmlp needs Python 3.11 or newer: make PYTHON=python3.12 setup") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --group docs --editable '.[all]'
	touch $@

clean:  ## remove the environment and everything that tools write
	rm -rf .venv build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache
