# Everything a person does here, one verb each. `make help` lists them.
# which Python makes the environment; empty: the fastest here (deploy/fastest-python)
PYTHON ?=
DOCKER ?= docker
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(wildcard contracts/barecount_* libs/*/barecount_* services/*/barecount_* deploy/local/barecount_*)
# a copy of the lock that was installed: equal means there is nothing to do
INSTALLED := $(VENV)/installed.lock
# tests that start the whole product and wait for its processes: a lane of their own
WHOLE := $(wildcard tests/chaos/test_*.py tests/browser tests/e2e tests/conformance/http)
# tests that kill, freeze and restart parts, and wait for those to come back: another lane
FAULTS := $(filter-out $(WHOLE),$(wildcard tests/chaos/*/)) $(addprefix tests/integration/,local readmodel webhooks worker worker_service)

.DEFAULT_GOAL := help
.PHONY: help install up down status clean test test-products test-faults test-parts check contracts images test-containers chaos bench

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## create .venv with exactly what requirements.lock pins (skipped when unchanged)
	@cmp -s requirements.lock $(INSTALLED) || { \
		set -e; \
		test -x $(BIN)/python || $(or $(PYTHON),$$(deploy/fastest-python)) -m venv $(VENV); \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/bootstrap.txt; \
		$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock; \
		$(BIN)/python -m barecount_local.training; \
		cp requirements.lock $(INSTALLED); \
	}

up: install ## start Kafka, PostgreSQL, the edge and every service, then tell the story
	@$(BIN)/barecount up

down: ## stop everything; the data stays
	@$(BIN)/barecount down

status: ## every process with its address, health, memory and log file
	@$(BIN)/barecount status

clean: ## stop everything and delete the data folder
	@$(BIN)/barecount clean

test: install ## every test, against real servers that the tests start themselves; three lanes side by side
	@$(MAKE) --no-print-directory --keep-going --jobs=3 --output-sync=target test-products test-faults test-parts

test-products: install ## only the tests that start the whole product
	@$(BIN)/pytest $(WHOLE)

test-faults: install ## only the tests that kill, freeze and restart parts
	@$(BIN)/pytest $(FAULTS)

test-parts: install ## all the other tests
	@$(BIN)/pytest $(addprefix --ignore=,$(WHOLE) $(FAULTS))

check: install ## format, lint, types, floors, contracts
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy $(PACKAGES)
	@$(BIN)/lint-imports
	@$(BIN)/pytest tests/contract

contracts: install ## write what follows from the code: schemas of new types, openapi.json, asyncapi.json, docs/topics.md, docs/http-api.md
	@$(BIN)/python -m barecount_contracts publish
	@$(BIN)/python -m barecount_local.documents
	@$(BIN)/python -m barecount_local.pages

images: ## build the container images from deploy/images (DOCKER_HOST names the engine)
	@for name in kafka postgres barecount edge; do \
		$(DOCKER) build --quiet --file deploy/images/Dockerfile --target $$name --tag barecount/$$name:latest . || exit 1; \
	done

test-containers: install images ## integration tests on servers from containers, and the product from deploy/compose.yaml
	@BARECOUNT_TEST_SERVERS=containers $(BIN)/pytest tests/integration tests/e2e/test_compose.py

chaos: install ## kill and freeze everything, at more moments than make test does (SEEDS=5; 200 take hours)
	@BARECOUNT_CHAOS_SEEDS=$(or $(SEEDS),$(BARECOUNT_CHAOS_SEEDS),5) $(BIN)/pytest tests/chaos

bench: install ## measure, each figure beside its raw ceiling (ONLY=name for one)
	@$(BIN)/python -m tests.bench
