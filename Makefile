# Every target works as the first thing typed in a fresh clone: the environment is made when it is missing.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help install demo agents test test-expensive test-reliability test-gpu test-sb3 test-wheel speed notebooks lint format docs build clean

help:
	@echo "make demo            see forgetting and its cure (two and a half minutes on two cores, after the set-up)"
	@echo "make agents          train small agents to look at, into agents/ (20 minutes on two cores; those that are there stay)"
	@echo "make test            run the tests (13 minutes on two cores)"
	@echo "make test-expensive  run the tests that take minutes"
	@echo "make test-reliability  kill trainings 50 times and compare them with undisturbed ones (half an hour)"
	@echo "make test-gpu        run the tests that need a GPU (two minutes)"
	@echo "make test-sb3        run SB3's own tests with our classes in place of theirs"
	@echo "make test-wheel      try the wheel in an empty environment, one extra after the other (10 minutes)"
	@echo "make speed           measure how fast SAC learns on this machine, beside SB3 (8 minutes)"
	@echo "make notebooks       run the notebooks in examples/ with their own budgets and store them"
	@echo "make lint            ruff and mypy"
	@echo "make format          format the code"
	@echo "make docs            build the documentation into build/docs"
	@echo "make build           build and check the wheel"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Setting up $(VENV): two minutes or more, depending on the network"
	$(PYTHON) -m venv $(VENV)
	@# torch alone first, at the pinned version: what comes after must not exchange it for a newer one.
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e ".[metaworld,atari,dmc,zoo,plots,notebooks,tests]"
	@touch $@

demo: $(INSTALLED)
	$(BIN)/sb3-nbsp demo

# Each is a run of its own in agents/ALGO/ENV_1, where `sb3-nbsp enjoy` and `record-video` find it. One thread each, two at a time.
AGENTS := nbspsac/CoffeeButtonWindowClose-v0 nbspsac/PointGoal-v0 nbspdqn/PointGoalDiscrete-v0 nbspppo/PointGoalDiscrete-v0
ARGUMENTS_nbspdqn := --env-kwargs steps_per_task:4000
ARGUMENTS_nbspppo := --env-kwargs steps_per_task:20000

agents: $(INSTALLED)
	@$(MAKE) --no-print-directory -j 2 $(AGENTS:%=agents/%)
	@echo "Play one: $(BIN)/sb3-nbsp enjoy --algo nbspsac --env sb3_nbsp/PointGoal-v0 --no-render"
	@echo "Film one: $(BIN)/sb3-nbsp record-video --algo nbspsac --env sb3_nbsp/PointGoal-v0"

# What was stopped goes on, what is finished says so. Two bars would not fit into one terminal: lines instead.
agents/%:
	@run=agents/$(*D)/sb3_nbsp-$(*F)_1; \
	if [ -d $$run ]; then set -- --resume $$run; \
	else set -- --algo $(*D) --env sb3_nbsp/$(*F) --seed 0 -f agents $(ARGUMENTS_$(*D)); fi; \
	TERM=dumb OMP_NUM_THREADS=1 $(BIN)/sb3-nbsp train "$$@"

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-expensive: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m expensive

test-reliability: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m "expensive or not expensive" tests/reliability tests/checkpoints

# The other targets hide GPUs from the tests.
test-gpu: $(INSTALLED)
	TEST_GPU=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m gpu -rs tests/gpu

test-sb3: $(INSTALLED)
	PYTHON=$(BIN)/python tests/sb3_suite/run

# From nothing: it makes environments of its own.
test-wheel:
	$(PYTHON) tests/wheel_check.py

speed: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python speed/measure.py --out build/speed.md

# NOTEBOOKS="1_quick_start 2_neurons": only these.
notebooks: $(INSTALLED)
	$(BIN)/pip install -q -c constraints.txt -e ".[notebooks]"
	OMP_NUM_THREADS=1 $(BIN)/python examples/make_notebooks.py $(NOTEBOOKS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/pip install -q -c constraints.txt -e ".[docs]"
	@touch $@

docs: $(DOCS_INSTALLED)
	rm -rf build/docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "Open build/docs/index.html"

build: $(INSTALLED)
	$(BIN)/pip install -q build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) dist build demo logs agents *.egg-info
