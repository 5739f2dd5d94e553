# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
# The build of FAISS: that for GPUs takes 200 MB more memory a process, and a GPU.
FAISS ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)

# One thread a test process: two processes with two threads each would wait for each other.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false \
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-all test-nightly crash check flips docs format clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,$(FAISS)]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# All that a developer runs before a commit, a sample of each heavy suite included.
test: $(STAMP)
	$(PYTEST) -m "not heavy and not nightly"

# The heavy suites, on top of `make test`.
test-all: $(STAMP)
	tests/install_tools.sh
	$(PYTEST) -m "heavy and not nightly"

# Thousands of examples of each property: an hour.
test-nightly: $(STAMP)
	$(PYTEST) -m nightly

# Every verb stopped at every system call that changes a space, and power lost at each.
crash: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.crash.run --workers $(WORKERS)

# A thousand random flips and cuts of every kind of file of a space.
flips: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.damage.flips --flips 1000

check: $(STAMP) docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/wheel_contents.py

docs: $(STAMP)
	$(BIN)/mkdocs build --strict --quiet

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist site demo-output .mypy_cache .ruff_cache
