# `make` alone lists the targets. Without make: the plain lines in README.md do the same.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
INSTALLED_APP := $(VENV)/.installed-app

.DEFAULT_GOAL := help
.PHONY: help run download retrain report slides app test bench bench-quick lint format clean

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

run: $(INSTALLED)  ## the whole story: notebook, results, plots, README block, slides (trains only what is out of date)
	$(PY) -m pneumonia notebook

download: $(INSTALLED)  ## fetch the radiographs (1.2 GB) into data/chest_xray; `run` does it by itself when there are none
	$(PY) -m pneumonia download

retrain: $(INSTALLED)  ## train every model again, then `run`; a killed retraining is continued
	$(PY) -m pneumonia train --retrain
	@$(MAKE) --no-print-directory run

report: $(INSTALLED)  ## metrics, plots, README block and slides from results/predictions.csv; needs no radiographs
	$(PY) -m pneumonia report

slides: report  ## presentation.pdf; it is a part of `report`

app: $(INSTALLED_APP)  ## a page in the browser that answers radiographs, on this machine only; needs no TensorFlow (480 MB)
	$(PY) -m pneumonia.app $(ARGS)

test: $(INSTALLED_DEV) $(INSTALLED_APP)  ## the tests; they need neither network nor radiographs (one module: make test ARGS=tests/test_metrics.py)
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

bench: $(INSTALLED)  ## measure speed side by side with the usual ways -> results/bench.csv, images/bench.png
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

$(INSTALLED): requirements.lock | $(PY)
	@echo "Installing requirements.lock into $(VENV): once, a few minutes, 2 GB"
	@$(PIP_INSTALL) -r requirements.lock
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt $(INSTALLED)
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@

$(INSTALLED_APP): requirements-predict.txt requirements-app.txt | $(PY)
	@$(PIP_INSTALL) -r requirements-predict.txt
	@$(PIP_INSTALL) --no-deps -r requirements-app.txt
	@touch $@
