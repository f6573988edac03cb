# Python >= 3.11, make and a package index are enough: every target sets up what it needs, once.

PYTHON ?= python3
WORKERS ?= auto
SEED ?= 0

VENV := .venv
BENCH := .venv-bench
MODELS := .venv-models
WORLDS := .venv-worlds
BUILD := .venv-build
INSTALLED := .venv-wheel
LOGGERS := .venv-loggers
ATLAS := .venv-atlas
BIN := $(VENV)/bin
# torch stays pinned for every later install, so that no other package can replace it.
INSTALL := -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: demo test coverage lint bench peers atlas kills test-browser test-models test-worlds test-loggers wheel test-wheel sbom stubs docs pages campaign soak help again

demo: $(VENV)/.demo  ## train two small networks on digits, measure both, write a report (about 2 minutes)
	$(BIN)/invariscope demo

# Unless plugins are named, pytest rewrites the assertions of every module of this package, which is one.
# Without bytecode, each of the processes that tests start would compile all of them.
# Tests of one file share what it prepares. (xdist 3.8 does not see its own groups with pytest 9.2.)
TESTS := PYTHONDONTWRITEBYTECODE= PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(BIN)/python -m pytest \
  -p xdist -p pytest_cov -p hypothesispytest -n $(WORKERS) --maxprocesses 8 --dist loadfile --global-seed $(SEED)

test: $(VENV)/.dev  ## run the tests, and build the documentation strictly
	$(TESTS)

coverage: $(VENV)/.dev  ## run the tests with coverage of src, which takes 1.5 times as long
	$(TESTS) --cov --cov-report term:skip-covered

lint: $(VENV)/.dev  ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

bench: $(BENCH)/.bench  ## measure the overhead against bare forwards and against tmeasures
	$(BENCH)/bin/python -m benchmarks.overhead

peers: $(BENCH)/.bench  ## measure with other packages, for the pages in docs/coming_from (about 5 minutes)
	$(BENCH)/bin/python -m benchmarks.coming_from --write

ROW ?= --all

atlas: $(ATLAS)/.atlas  ## measure a pretrained model for docs/atlas.md, ROW=name (all of them take about 2 hours)
	$(ATLAS)/bin/python -m benchmarks.atlas $(ROW)

kills: $(VENV)/.dev  ## kill commands 100 times and compare their results with undisturbed runs (about 10 minutes)
	$(BIN)/python -m benchmarks.kills --seed $(SEED)
	$(BIN)/python -m pytest -m slow tests/lab/test_campaign.py

test-browser: $(VENV)/.browser  ## open reports in Chromium, which must be installed (about 2 minutes)
	$(BIN)/python -m pytest tests_browser

test-models: $(MODELS)/.models  ## check models from transformers, timm and PyTorch Geometric against plain hooks (about 10 minutes)
	$(MODELS)/bin/python -m pytest tests_models
	$(MODELS)/bin/python -m benchmarks.architectures
	$(MODELS)/bin/python -m benchmarks.architectures.own_inputs

test-worlds: $(WORLDS)/.worlds  ## check models of other frameworks, text, audio, graphs, molecules, photographs (about 15 minutes)
	$(WORLDS)/bin/python -m pytest tests_worlds
	KERAS_BACKEND=jax $(WORLDS)/bin/python -m pytest tests_worlds -k keras
	$(WORLDS)/bin/python -m benchmarks.frameworks

test-loggers: $(LOGGERS)/.loggers  ## read back what MLflow, W&B, parquet and model cards hold (about 2 minutes)
	$(LOGGERS)/bin/python -m pytest tests_loggers

wheel: $(BUILD)/.build  ## build the wheel and the source archive into dist/, and check their metadata
	rm -rf dist
	$(BUILD)/bin/python -m build --outdir dist
	$(BUILD)/bin/python -m twine check --strict dist/*

test-wheel: wheel  ## install the wheel alone into a new environment, and try it there (about 2 minutes)
	$(INSTALL_ALONE)
	$(INSTALLED)/bin/python $(INSTALL) 'pytest>=8.2'
	$(INSTALLED)/bin/python -P tests/project/wheel_smoke.py

sbom: wheel  ## list what the wheel installs, with versions and licences, in dist/ (CycloneDX)
	$(INSTALL_ALONE)
	$(BUILD)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  --output-file dist/invariscope.cdx.json $(INSTALLED)/bin/python

# A new environment that holds the wheel and what it requires, nothing else.
define INSTALL_ALONE
rm -rf $(INSTALLED)
$(PYTHON) -m venv $(INSTALLED)
$(INSTALLED)/bin/python $(INSTALL) torch
$(INSTALLED)/bin/python $(INSTALL) dist/*.whl
endef

$(BUILD)/.build: Makefile
	rm -rf $(BUILD)
	$(PYTHON) -m venv $(BUILD)
	$(BUILD)/bin/python -m pip install -qq --disable-pip-version-check build twine cyclonedx-bom
	@touch $@

stubs: $(VENV)/.dev  ## list the public names for editors and type checkers, after adding one
	$(BIN)/python docs/generate/stubs.py

docs: $(VENV)/.dev  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pages: $(VENV)/.dev  ## write the pages of the reproductions and all figures of the documentation anew (about 5 minutes)
	$(BIN)/python -m invariscope.lab.pages
	$(BIN)/python -m benchmarks.atlas --page
	$(BIN)/python docs/generate/images.py

DATA ?= $(INVARISCOPE_DATA)

MINUTES ?= 60

soak: $(VENV)/.demo  ## repeat small measurements for MINUTES=60, and check that nothing accumulates
	$(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --seed $(SEED)

campaign: $(VENV)/.demo  ## run and archive missing cells of the recipes, DATA=folder JOBS=1 (days on one core)
	nice -n 19 $(BIN)/python -m invariscope.lab.campaign $(if $(DATA),--data-dir '$(DATA)') --device cpu --jobs $(or $(JOBS),1) --threads 1

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# An environment is finished when its stamp exists. `.unfinished` is left behind only if an
# install was interrupted; that environment is then created again.
HALF_MADE := $(patsubst %/.unfinished,%/.torch,$(wildcard \
  $(VENV)/.unfinished $(BENCH)/.unfinished $(MODELS)/.unfinished $(WORLDS)/.unfinished \
  $(LOGGERS)/.unfinished $(ATLAS)/.unfinished))
$(HALF_MADE): again

$(VENV)/.torch $(BENCH)/.torch $(MODELS)/.torch $(WORLDS)/.torch $(LOGGERS)/.torch $(ATLAS)/.torch: %/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else \
	  "Python 3.11 or later is needed, %s is %d.%d. Name another one: make PYTHON=python3.12" \
	  % (sys.executable, v[0], v[1]))'
	@test ! -e $*/.unfinished || rm -rf $*
	@mkdir -p $* && touch $*/.unfinished
	$(PYTHON) -m venv $*
	$*/bin/python $(INSTALL) torch
	@rm $*/.unfinished && touch $@

$(VENV)/.demo: EXTRAS :=
$(VENV)/.dev: EXTRAS := [dev,docs]
$(VENV)/.browser: EXTRAS := [dev,docs,browser]
$(BENCH)/.bench: EXTRAS := [bench]
# escnn requires py3nj, which has to be compiled; only its 3D groups need it.
$(BENCH)/.bench: ALONE := escnn==1.0.11 lie_learn==0.0.2
$(MODELS)/.models: EXTRAS := [models]
$(WORLDS)/.worlds: EXTRAS := [worlds]
$(LOGGERS)/.loggers: EXTRAS := [loggers]
# Each row of the atlas installs its own packages.
$(ATLAS)/.atlas: EXTRAS :=
# timm requires torchvision, which has no build for every torch; its models work without it.
$(MODELS)/.models: ALONE := timm
# It requires a backport of typing that breaks later versions of Python.
$(WORLDS)/.worlds: ALONE := resemblyzer

$(VENV)/.demo $(VENV)/.dev $(VENV)/.browser: $(VENV)/.torch
$(BENCH)/.bench: $(BENCH)/.torch
$(MODELS)/.models: $(MODELS)/.torch
$(WORLDS)/.worlds: $(WORLDS)/.torch
$(LOGGERS)/.loggers: $(LOGGERS)/.torch
$(ATLAS)/.atlas: $(ATLAS)/.torch

$(VENV)/.demo $(VENV)/.dev $(VENV)/.browser $(BENCH)/.bench $(MODELS)/.models $(WORLDS)/.worlds $(LOGGERS)/.loggers $(ATLAS)/.atlas: pyproject.toml
	@touch $(@D)/.unfinished
	$(@D)/bin/python $(INSTALL) --editable '.$(EXTRAS)'
	$(if $(ALONE),$(@D)/bin/python $(INSTALL) --no-deps $(ALONE))
	@rm $(@D)/.unfinished && touch $@
