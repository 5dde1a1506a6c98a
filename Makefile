# make help says what there is.
MRFS ?= mrf1,mrf2
ROWS ?= 200000
LIVE_SECONDS ?= 60
RATE ?= 50

VENV := .venv
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.cache/uv/bin/uv)

.PHONY: help setup demo test lint unit integration dag bench docs clean

help: ## What there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Install everything into .venv, from the lock

$(VENV)/.ready: uv.lock pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml) devstack/pyproject.toml | $(UV)
	$(UV) sync --locked --quiet
	@touch $@

$(CURDIR)/.cache/uv/bin/uv:
	python3 -m venv .cache/uv
	.cache/uv/bin/pip install --quiet uv

demo: setup ## The whole road on this machine: MRFS=mrf1,mrf2,mrf3 ROWS=1000000 scale it
	@$(VENV)/bin/python -m devstack.demo --mrfs $(MRFS) --rows $(ROWS) --live-seconds $(LIVE_SECONDS) --rate $(RATE)

test: lint unit integration dag ## All tests

lint: setup ## Format, style and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy libs services devstack tests/integration tests/sql tests/docs bench docs

unit: setup ## Tests beside the services, and of SQL and docs
	$(VENV)/bin/pytest -q libs services devstack tests/sql tests/docs

integration: setup ## Tests on the real broker and the real warehouse
	$(VENV)/bin/pytest -q tests/integration

dag: setup ## Tests of the DAGs in the real Airflow, in an environment of its own
	$(UV) sync --project dags --locked --quiet
	$(UV) run --project dags --locked mypy --config-file dags/pyproject.toml dags tests/dag
	$(UV) run --project dags --locked pytest -q tests/dag

bench: setup ## Side-by-side measurements, on a quiet machine
	$(VENV)/bin/python -m bench
	$(VENV)/bin/python -m bench.workbook

docs: setup ## Write the generated pages again
	$(VENV)/bin/python docs/generate.py

clean: ## Remove the demo's data
	rm -rf .demo build
