# Two commands matter: `make demo` and `make test`. Both set up everything they need on a fresh machine with Python 3.11+.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SHARED ?= ../shared

# The models with weights (torch, about 5 GB) are set up where their weights are, or with TORCH=1.
TORCH ?= $(if $(wildcard $(SHARED)/models/mn04_as_mAP_432.pt),1,0)
DEV_LOCK := $(if $(filter 1,$(TORCH)),requirements/dev-torch.txt,requirements/dev.txt)

# Processes that tests are run by; half of them wait for sockets most of the time.
TEST_WORKERS ?= 2

.PHONY: demo test soak bench train lint types format lock clean

demo: $(VENV)/.demo
	$(BIN)/segue demo $(if $(ONCE),--once) $(if $(MUSIC),--music "$(MUSIC)")

test: $(VENV)/.dev
	$(BIN)/pytest -m "not soak" --numprocesses $(TEST_WORKERS) --dist worksteal

soak: $(VENV)/.dev
	$(BIN)/pytest -m soak --timeout 7200

bench: $(VENV)/.dev
	$(BIN)/python -m bench

# A short training from nothing, on music that Segue composes; docs/models/segue-1.md has the real one.
train: $(VENV)/.train
	$(BIN)/python -m training demo --work .train

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Segue needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# A stamp per install set; the lock files pin every package by hash, so two fresh machines get the same.
$(VENV)/.demo: requirements/demo.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(DEV_LOCK) pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(DEV_LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@ $(VENV)/.demo

$(VENV)/.train: requirements/dev-torch.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev-torch.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Needs uv (pip install uv). Names and hashes only: the locks name no index, so any mirror serves.
LOCK := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" --build-isolation
lock:
	$(LOCK) -o requirements/serve.txt
	$(LOCK) --extra embed -o requirements/embed.txt
	$(LOCK) --extra torch -o requirements/torch.txt
	$(LOCK) --extra demo requirements/build.in -o requirements/demo.txt
	$(LOCK) --extra dev requirements/build.in -o requirements/dev.txt
	$(LOCK) --extra dev --extra train requirements/build.in -o requirements/dev-torch.txt

clean:
	rm -rf $(VENV) .demo .train build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
