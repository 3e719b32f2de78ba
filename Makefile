# make demo | make test | make lint each do all their own set-up, in .venv, from constraints.txt.
# VENV=none: use PYTHON's own packages instead, install nothing, need no network:
#   make test PYTHON=python3 VENV=none
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
DEMO_ARGS ?=
EXAMPLE_ARGS ?=
GPU_CHECK_ARGS ?=

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help demo test lint format build wheel cuda-compile readme-figures instruction-gate gpu-check clean

help:
	@echo "make demo          the demonstration on real images, with pictures"
	@echo "make example-inpainting, example-sparsity, example-variable_sizes: see examples/README.md"
	@echo "make test          all tests"
	@echo "make lint          ruff, clang-format, mypy;  make format  applies the first two"
	@echo "make build         the native library and the emulation, in place;  make wheel  a wheel in dist/"
	@echo "make cuda-compile  the CUDA kernels for sm_80 and sm_90a, with registers and spills"
	@echo "make instruction-gate  instructions of the CPU engine under valgrind, against the baseline"
	@echo "make readme-figures  tables and pictures of the documents, from benchmarks/results"
	@echo "make gpu-check     everything a machine with a GPU can verify, as one JSON"
	@echo "VENV=none PYTHON=python3: with that interpreter's own packages, offline"

ifeq ($(VENV),none)

PY := $(PYTHON)
TOOLS :=
# Nothing is installed: a missing tool is reported by the target that needs it.
installed_demo installed_examples installed_test installed_lint:
	@:
INSTALLED = installed_$(1)

else

PY := $(VENV)/bin/python
TOOLS := $(VENV)/bin/
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --progress-bar off -c constraints.txt
INSTALLED = $(VENV)/installed_$(1)

$(VENV)/installed_base: constraints.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "installing torch and the build tools into $(VENV)"
	@$(PIP) torch numpy ninja "setuptools>=77"
	@touch $@

# The package itself is installed editable without its library, which `build` then makes where it can be seen.
$(VENV)/installed_%: $(VENV)/installed_base pyproject.toml setup.py
	@echo "installing the $* tools into $(VENV)"
	@MASKCONV_NATIVE=0 $(PIP) --no-build-isolation -e ".[$*]"
	@touch $@

endif

demo: $(call INSTALLED,demo) build
	$(PY) -m maskconv_ext.cli demo $(DEMO_ARGS)

example-%: $(call INSTALLED,examples) build
	$(PY) examples/$*.py $(EXAMPLE_ARGS)

test: $(call INSTALLED,test) build
	@$(PY) -c "import pytest" || { echo "make test: $(PY) has no pytest"; exit 1; }
	$(PY) -m pytest $(PYTEST_ARGS)

# Incremental by itself: ninja compiles what changed.
ifeq ($(VENV),none)
build:
else
build: $(VENV)/installed_base
endif
	@$(PY) tools/native_build.py

wheel: build
	$(PY) -m pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .

CXX_SOURCES = $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

lint: $(call INSTALLED,lint)
	$(TOOLS)ruff check
	$(TOOLS)ruff format --check
	$(TOOLS)clang-format --dry-run --Werror $(CXX_SOURCES)
	$(TOOLS)mypy
	$(PY) tools/update_docs.py --check

format: $(call INSTALLED,lint)
	$(TOOLS)ruff check --fix
	$(TOOLS)ruff format
	$(TOOLS)clang-format -i $(CXX_SOURCES)

ifeq ($(VENV),none)
cuda-compile:
else
cuda-compile: $(VENV)/installed_base
endif
	@$(PY) tools/cuda_compile.py

readme-figures: $(call INSTALLED,demo)
	$(PY) tools/update_docs.py --pictures

instruction-gate: build
	@$(PY) tools/instruction_counts.py --only cpu

gpu-check: $(call INSTALLED,test)
	$(PY) tools/gpu_check.py $(GPU_CHECK_ARGS)

clean:
	rm -rf build dist *.egg-info out .pytest_cache .hypothesis .mypy_cache .ruff_cache
	rm -f maskconv_ext/_native.so maskconv_ext/_emulation*.so
