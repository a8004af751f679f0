# make demo   see it work            make test    run the tests
# make check  what CI runs           make format  tidy the code
# make gpu    tests and benchmarks on an NVIDIA GPU (without network there: make wheels first, where there is one)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Small matrices do not gain from more threads, and the tests share the machine.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

.PHONY: demo test check lint format gpu wheels clean

demo: $(INSTALLED)
	$(BIN)/dittod demo $(ARGS)

test: $(INSTALLED)
	$(TEST_ENV) $(BIN)/pytest -m 'not gpu'

check: lint test

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

gpu:
	@PYTHON=$(PYTHON) packaging/gpu.sh

wheels: $(INSTALLED)
	$(BIN)/python packaging/gpu_wheels.py

clean:
	rm -rf $(VENV) build dist *.egg-info wheels

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dittod needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@
