# make demo   see it work            make test    run the tests
# make check  what CI runs           make format  tidy the code
# make clients  install other programs from PyPI and npm, and have them ask a daemon
# make soak   half an hour of everything at once (ARGS="--minutes N")
# make packages  wheel, source archive and Debian package, into dist/
# make gpu    tests and benchmarks on an NVIDIA GPU (without network there: make wheels first, where there is one)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Small matrices do not gain from more threads, and the tests share the machine.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

.PHONY: demo test check clients soak lint format gpu wheels packages clean

demo: $(INSTALLED)
	$(BIN)/dittod demo $(ARGS)

test: $(INSTALLED)
	$(TEST_ENV) $(BIN)/pytest -m 'not gpu and not clients'

check: lint test

clients: $(INSTALLED)
	$(TEST_ENV) $(BIN)/pytest -m clients -s -v tests/clients

soak: $(INSTALLED)
	$(BIN)/python benchmarks/soak.py $(ARGS)

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

packages: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	@if command -v dpkg-deb >/dev/null; then $(BIN)/python packaging/debian/build.py dist/*.whl dist; \
	else echo 'no dpkg-deb: no Debian package' >&2; fi

clean:
	rm -rf $(VENV) build dist *.egg-info wheels

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "dittod needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@
