# A fresh machine needs GNU make and Python 3.11 to 3.13, nothing else: all that is installed goes into .venv.

SHELL := /bin/sh
PYTHON :=
ARGS :=
RECORD := five_objectives
VENV := .venv
RUN := $(VENV)/bin/python -m
PROSE := structpred objectives tasks experiments tests docs Makefile pyproject.toml $(wildcard *.md)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help compare reproduce test quick lint types docs check other-python bench clean

help:
	@echo "make compare   train and compare the objectives of the main job; prints the table and writes the report"
	@echo "make reproduce RECORD=pronunciation   trains a record's runs again and compares the scores"
	@echo "make test      every test, the slow ones too"
	@echo "make quick     those not slow, of each sweep the first case; under two minutes on one core"
	@echo "make lint      formatting, lint and spelling"
	@echo "make types     static types"
	@echo "make docs      the documentation site, in site/; a warning fails"
	@echo "make check     lint, types, docs and tests: what a change must pass"
	@echo "make bench     measured speed of what is claimed to be fast; says what it cannot measure here, and why"
	@echo "make clean     remove .venv, caches and build folders; runs/ and reports/ stay"
	@echo
	@echo "ARGS=\"...\" is passed on (make compare ARGS=\"--seeds 2\", make test ARGS=\"-k payoff\"),"
	@echo "PYTHON=/path/to/python chooses the interpreter .venv is made from; VENV=folder keeps a second one apart"
	@echo "(make test PYTHON=python3.12 VENV=.venv-python3.12)."

compare: $(VENV)/.runtime
	$(VENV)/bin/structpred compare --report reports/five_objectives $(ARGS)

reproduce: $(VENV)/.runtime
	$(VENV)/bin/structpred reproduce experiments/records/$(RECORD) $(ARGS)

# One thread: tensors in tests are small, and threads that wait for each other cost more than they do. Two processes
# instead; those of a file stay together, as they share what they train, and `tests/conftest.py` says in which order.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# While one works. Shapes are not checked at run time, which would double the time, nor are figures rendered.
quick: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(RUN) pytest --quick $(ARGS)

lint: $(VENV)/.dev
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(VENV)/bin/codespell $(PROSE)

types: $(VENV)/.dev
	$(RUN) mypy

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict $(ARGS)

check: lint types docs test

# Prints the newest Python of another version than that of .venv, in PATH or of pyenv, whose shims in PATH may not run.
other-python:
	@used=`$(VENV)/bin/python -c "$(minor)" 2>/dev/null` || { $(find_python); used=`"$$python" -c "$(minor)"`; }; \
	pyenv=`pyenv root 2>/dev/null`/versions; \
	for version in 3.13 3.12 3.11; do \
	  if test "$$version" = "$$used"; then continue; fi; \
	  for candidate in python$$version "$$pyenv"/$$version*/bin/python$$version; do \
	    if "$$candidate" -c "$(suitable)" >/dev/null 2>&1; then echo "$$candidate"; exit 0; fi; \
	  done; \
	done; \
	echo "No Python from 3.11 to 3.13 was found other than $$used" >&2; exit 1

bench: $(VENV)/.runtime
	$(RUN) structpred.experiments.benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .venv-python* build dist site *.egg-info .cache .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find structpred objectives tasks experiments tests -name __pycache__ -type d -prune -exec rm -rf {} +

# .runtime and .dev say what is installed. .sound is missing while an installation is under way, so that one which was
# interrupted, whenever and however, is started again from nothing.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(call install,.,.runtime)

$(VENV)/.dev: pyproject.toml constraints.txt
	@$(call install,.[dev],.runtime .dev)

define install
set -e; \
if ! { test -e $(VENV)/.sound && $(VENV)/bin/python -c ''; } 2>/dev/null; then \
  $(find_python); \
  echo "Making $(VENV) with $$python"; \
  rm -rf $(VENV); \
  "$$python" -m venv $(VENV); \
fi; \
rm -f $(VENV)/.sound $(VENV)/.runtime $(VENV)/.dev; \
echo "Installing $(1) into $(VENV), once; PyTorch is large, so this takes minutes"; \
$(RUN) pip install --quiet --constraint constraints.txt --editable "$(1)"; \
cd $(VENV); touch .sound $(2); \
echo "Installed"
endef

define find_python
python=; \
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
  if "$$candidate" -c "$(suitable)" >/dev/null 2>&1; then python="$$candidate"; break; fi; \
done; \
if test -z "$$python"; then echo "$(wanted)" >&2; exit 1; fi
endef

suitable := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
minor := import sys; print('%d.%d' % sys.version_info[:2])
found := $(if $(PYTHON),$(PYTHON) is not one,none was found)
wanted := structpred needs Python 3.11 to 3.13 with venv, but $(found); install one or name it: make PYTHON=/path/to/python
