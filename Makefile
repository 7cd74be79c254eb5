# Everything runs in $(VENV), which the first target makes. Each recipe line can be typed by hand in that environment.
#   make reproduce PYTHON=python3.12 CORES=4 TORCH_INDEX=URL
# TORCH_INDEX: a further package index for the build of torch that you want (CPU, or a CUDA version; pytorch.org's
# selector names them). Without it you get the build of your own index: on Linux usually CUDA, which is several GB.

PYTHON ?= python3
VENV ?= .venv
CORES ?= all
TORCH_INDEX ?=

export PATH := $(abspath $(VENV))/bin:$(PATH)

# Jobs share the cores with each other: waiting threads sleep, and freed memory stays with the process (in virtual
# machines handing it back cost up to half of the CPU time). glibc reads these when a process starts.
export OMP_WAIT_POLICY ?= PASSIVE
export MALLOC_ARENA_MAX ?= 1
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TOP_PAD_ ?= 268435456
export MALLOC_TRIM_THRESHOLD_ ?= 2147483647

PIP := python -m pip install -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
SNAKEMAKE := snakemake --cores $(CORES)
# For hundreds of jobs: by default Snakemake 9 looks through all that wait once a second for every job that has ended,
# a quarter of a core in the end. This way it is once in ten seconds; it also waits as long before it exits.
MANY := --max-jobs-per-timespan 1000/10s
INSTALLED := $(VENV)/.installed

.PHONY: help install reproduce test drills study pretrain figures report bench lint clean-venv

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## make the environment; builds the C++ extension if there is a compiler

$(INSTALLED): constraints.txt pyproject.toml setup.py $(wildcard csrc/*)
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(f"$(PYTHON) is Python {v}, but silmm needs 3.11 or newer: try make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) setuptools pybind11 ninja
	$(PIP) --no-build-isolation -e '.[test]'
	python -m silmm doctor
	touch $(INSTALLED)

reproduce: $(INSTALLED) ## the ShapeWorld loop with the default settings: results/summary.csv and figures
	$(SNAKEMAKE)

ifneq ($(TORCH_INDEX),)
test: export PIP_EXTRA_INDEX_URL := $(TORCH_INDEX)# tests/conda installs torch in an environment of its own
endif
test: $(INSTALLED) ## the test suite, on two cores
	python -m pytest -n 2

drills: $(INSTALLED) ## what takes too long for the test suite: kills at random, fuzzing (hours); results/drills.json
	python -m pytest --drills results/drills.json

study: $(INSTALLED) ## all of it with three seeds, bases of two trained on the spot (hours): docs/study/
	$(SNAKEMAKE) all figures --configfile config/study.yaml $(MANY)
	python workflow/scripts/keep_study.py --results results --out docs/study --command 'make study'
	python paper_figures/study_tables.py --study docs/study

pretrain: $(INSTALLED) ## train the base checkpoints anew (checkpoints/ has the shipped ones)
	$(SNAKEMAKE) base --config shipped=null 'pathvars={results: results/pretrain}'

figures: $(INSTALLED) ## the paper's tables and figures on ShapeWorld, and others: an hour; results/paper/
	$(SNAKEMAKE) figures $(MANY)

report: figures ## one HTML file with all of them: results/report.html
	$(SNAKEMAKE) figures --report results/report.html

bench: $(INSTALLED) ## time kernels and stages against the plain way to do them, and draw it: bench/results/
	python -m bench.kernels
	python -m bench.stages --ckpt checkpoints/discrete_seed0 --continuous checkpoints/continuous_seed0
	python -m bench.trunk --continuous checkpoints/continuous_seed0
	python -m bench.lmms --device cpu
	python -m bench.lmm_memory
	python -m bench.judges $(if $(SILMM_BENCHMARKS),--data $(SILMM_BENCHMARKS)/dsg-1k)
	python -m bench.plot

lint: $(INSTALLED) ## style, types, and the workflow: its format, and what Snakemake finds
	ruff check .
	ruff format --check .
	mypy src
	snakefmt --check Snakefile workflow
	snakemake --lint

clean-venv: ## remove the environment
	rm -rf $(VENV)
