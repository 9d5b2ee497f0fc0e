# `make` alone lists the targets. Without make: docs/elsewhere.md.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# The package itself, editable, and what it needs, in the versions and with the hashes of the lock. (uv compares hashes
# also where the lock is a list of constraints; pip refuses that.)
UV := uv==0.13.9
INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check $(UV) && $(PY) -m uv pip install --quiet -c requirements.lock -e
export UV_HTTP_TIMEOUT ?= 180
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_APP := $(VENV)/.installed-app

.DEFAULT_GOAL := help
.PHONY: help run download retrain report slides app test bench bench-quick lint format clean

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

run: $(INSTALLED)  ## everything: notebook, results, figures, documents, slides (trains only what is out of date)
	$(PY) -m pneumonia notebook

download: $(INSTALLED)  ## fetch the radiographs (1.2 GB) into data/chest_xray; `run` does so when there are none
	$(PY) -m pneumonia download

retrain: $(INSTALLED)  ## train every model again, then `run`; an interrupted retraining resumes
	$(PY) -m pneumonia train --retrain
	@$(MAKE) --no-print-directory run

report: $(INSTALLED)  ## metrics, figures, documents and slides from results/predictions.csv; needs no radiographs
	$(PY) -m pneumonia report

slides: report  ## presentation.pdf; it is a part of `report`

app: $(INSTALLED_APP)  ## a page in the browser that reads radiographs, for this machine only; without TensorFlow (480 MB)
	$(PY) -m pneumonia app $(ARGS)

test: $(INSTALLED_DEV)  ## the tests; they need neither network nor radiographs (one module: make test ARGS=tests/test_metrics.py)
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

bench: $(INSTALLED)  ## measure speed, compared with the usual tools -> results/bench.csv, images/bench.png
	$(PY) -m bench $(ARGS)

bench-quick: $(INSTALLED)  ## whether `bench` runs, on a few simulated radiographs; writes into build/ only
	$(PY) -m bench --quick --simulated

lint: $(INSTALLED_DEV)  ## what ruff finds, and whether `format` would change anything
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(INSTALLED_DEV)  ## sort imports, break lines
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:  ## remove build/ (decoded pixels, unfinished trainings, simulated run) and caches; keeps .venv, data, models, results
	rm -rf build .pytest_cache .ruff_cache
	find pneumonia bench tests -name __pycache__ -prune -exec rm -rf {} +

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing); Python 3.11, 3.12 or 3.13 is needed. Name one: make PYTHON=python3.12 $(or $(MAKECMDGOALS),run)" >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): requirements.lock pyproject.toml | $(PY)
	@echo "Installing pyproject.toml [train] into $(VENV): once, a few minutes, 2 GB"
	@$(INSTALL) ".[train]"
	@touch $@

$(INSTALLED_DEV): requirements.lock pyproject.toml | $(PY)
	@echo "Installing pyproject.toml [train,app,dev] into $(VENV): once, a few minutes, 2 GB"
	@$(INSTALL) ".[train,app,dev]"
	@touch $(INSTALLED) $(INSTALLED_APP) $@

$(INSTALLED_APP): requirements.lock pyproject.toml | $(PY)
	@$(INSTALL) ".[app]"
	@touch $@
