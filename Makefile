# `make` alone lists what there is. Everything is installed into .venv from the pinned requirements files.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CELL_OPTIONS ?=
TESTS ?=
export PYTHONPATH := $(CURDIR)
# In which form programs run: with COMPILED set from build/compiled, else from the checkout.
ifdef COMPILED
FORM := build/compiled/.made
export PYTHONPATH := $(CURDIR)/build/compiled:$(CURDIR)
export PYTHONSAFEPATH := 1
endif

.PHONY: help cell compiled test soak lint format bench docs check-wheel clean

help:
	@echo 'make cell         run a cell here, in the foreground (CELL_OPTIONS=... for afs-cell --help)'
	@echo 'make compiled     the tree with its hot modules compiled, into build/compiled'
	@echo 'make test         install what the tests need, then run them (TESTS=tests.xdr for some)'
	@echo 'make soak         the same with the full numbers of repetitions'
	@echo 'make lint         ruff and mypy'
	@echo 'make format       let ruff format the code'
	@echo 'make bench        speed beside stock OpenAFS, appended to tests/bench/RESULTS.md'
	@echo 'make docs         the documentation, into docs/_build'
	@echo 'make check-wheel  pip install . into an empty environment and look for the plugins'
	@echo 'make clean        remove what these made, except the cell'
	@echo
	@echo 'COMPILED=1 with cell, test, soak or bench: with the hot modules compiled, which needs a C compiler'

.venv/.created:
	scripts/create-venv $(PYTHON)
	@touch $@

.venv/.runtime: .venv/.created requirements.txt
	$(PIP) -r requirements.txt
	@touch $@

.venv/.fcrypt: .venv/.runtime setup.py rx/security/_fcrypt.c scripts/build-fcrypt
	scripts/build-fcrypt $(BIN)/python
	@touch $@

.venv/.test: .venv/.runtime .venv/.fcrypt requirements-test.txt
	$(PIP) -r requirements-test.txt
	@touch $@

.venv/.dev: .venv/.test requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	@touch $@

# Beside the checkout, which stays Python: what is edited there is what runs without COMPILED.
build/compiled/.made: .venv/.dev setup.py scripts/build-compiled $(shell find xdr rx afs vlserver fileserver vos twisted -name '*.py')
	scripts/build-compiled $(BIN)/python
	@touch $@

compiled: build/compiled/.made

# exec: an interrupt or SIGTERM reaches the cell itself.
cell: .venv/.runtime .venv/.fcrypt $(FORM)
	@exec $(BIN)/twistd --nodaemon --pidfile= afs-cell $(CELL_OPTIONS)

test: .venv/.test $(FORM)
	scripts/install-test-prerequisites
	$(BIN)/python -m tests $(TESTS)

soak: export TXAFS_SOAK := 1
soak: test

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.test $(FORM)
	scripts/install-test-prerequisites
	$(BIN)/python -m tests.bench

docs: .venv/.dev
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

check-wheel:
	scripts/check-wheel $(PYTHON)

clean:
	rm -rf build dist *.egg-info docs/_build .mypy_cache .ruff_cache .hypothesis _trial_temp* twisted/plugins/dropin.cache
