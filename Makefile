# Driftline. `make` alone lists what can be done.
PYTHON ?= python3
ARGS ?=
SEEDS ?= 200
MINUTES ?= 10
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo loop test check lint types imports bench bench-peers quality sim mutants chaos recovery overload soak \
	scale fuzz docs docs-pages golden security-test audit dashboards dashboards-test console-test deploy-test image-steps lock clean

help: ## list the targets
	@echo "make TARGET [ARGS=\"...\"] [PYTHON=python3.12]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv with the locked dependencies; does nothing when that is up to date
	@PYTHON="$(PYTHON)" tools/setup.sh

demo: setup ## watch real flights drift, with a real Kafka when there is Java or Docker; ARGS="--help" for more
	$(BIN)/driftline demo $(ARGS)

loop: setup ## drift, an action, a retraining, recovery: examples/feedback_loop on a real Kafka (a minute or two)
	$(BIN)/python -m examples.feedback_loop $(ARGS)

test: setup ## all tests, on a real broker too; ARGS="-m 'not kafka'" for the quick ones
	$(BIN)/python -m pytest $(ARGS)

check: lint types imports ## everything that reads the code without running it

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## imports go one way
	$(BIN)/lint-imports

bench: setup ## measure throughput, latency and memory here; ARGS="--help" for more
	$(BIN)/python tests/bench/run.py $(ARGS)

quality: setup ## what the alarms are worth, on streams whose truth is known (11 minutes); ARGS="--help" for more
	$(BIN)/python tests/quality/run.py $(ARGS)

bench-peers: setup ## the same work by Faust + river, hand-written loops and Kafka Streams; needs a JDK 17
	$(BIN)/python tests/bench/run_peers.py $(ARGS)

chaos: setup ## faults under load, then count every row; ARGS="--faults all", "--control", "--help"
	$(BIN)/python tests/chaos/run.py $(ARGS)

recovery: setup ## the state of 10,000 signals, kill -9, seconds until ready
	$(BIN)/python tests/chaos/recovery.py $(ARGS)

overload: setup ## three times the capacity: bounded memory, catches up, loses nothing; ARGS="--seconds 120"
	$(BIN)/python tests/chaos/overload.py $(ARGS)

soak: setup ## steady traffic, and what grows meanwhile; MINUTES=10
	$(BIN)/python tests/chaos/soak.py --minutes $(MINUTES) $(ARGS)

scale: setup ## one, two, three workers: events a second, and what a rolling update costs
	$(BIN)/python tests/chaos/scale.py $(ARGS)

fuzz: setup ## hostile input against every reader of bytes; ARGS="--seconds 60" or "--help"
	$(BIN)/python tests/fuzz/run.py $(ARGS)

sim: setup ## simulate both stages under faults, no broker; SEEDS=500 for more, ARGS="--seed N" repeats one with its trace
	$(BIN)/python tests/simulation/run.py --seeds $(SEEDS) $(ARGS)

mutants: setup ## bring protocol bugs into the product one at a time: the simulation has to see each of them
	$(BIN)/python tests/simulation/mutants.py $(ARGS)

docs: setup ## build the documentation site into build/site, strictly; ARGS=--serve looks at it on 127.0.0.1:8000
	$(BIN)/python -m tools.docs $(ARGS)

docs-pages: setup ## write the pages that are generated from the code: configuration, metrics
	$(BIN)/python -m tools.docs.configuration > docs/configuration.md
	$(BIN)/python -m driftline.publish.catalogue > docs/metrics.md

golden: setup ## write how every kind of alert reads into tests/golden/alerts: read what changed
	$(BIN)/python tests/golden/alerts/make.py

dashboards: setup ## write deploy/grafana/dashboards from tools/dashboards
	$(BIN)/python -m tools.dashboards

dashboards-test: setup ## every panel and rule against a real Prometheus, worker and Kafka; needs: apt install prometheus
	$(BIN)/python tests/deploy/live.py $(ARGS)

security-test: setup ## the product on a Kafka with TLS, SASL and ACLs, and every attack we know: let in 0; needs openssl
	$(BIN)/python tests/security/run.py $(ARGS)

console-test: setup ## the report and the console in a real Chromium, under live traffic; needs: apt install chromium
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group browser
	$(BIN)/python tests/browser/run.py $(ARGS)

deploy-test: setup ## lint, render and validate Dockerfile, compose file and Helm chart with their own tools
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group deploy
	$(BIN)/python tests/deploy/tools.py $(ARGS)

audit: setup ## known vulnerabilities of the locked dependencies, and build/sbom.json (CycloneDX); asks PyPI
	mkdir -p build
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements requirements/run.txt -o build/sbom.json
	$(BIN)/uv tool run pip-audit==2.10.1 --strict --require-hashes --disable-pip -r requirements/run.txt

image-steps: setup ## run the steps of the Dockerfile without Docker, in a clean folder (about three minutes)
	$(BIN)/python tests/deploy/dockerfile_steps.py $(ARGS)

UV_LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet

lock: setup ## raise the locked versions in requirements/ to the newest that fit
	$(UV_LOCK) --output-file requirements/run.txt
	$(UV_LOCK) --all-extras --group dev --output-file requirements/dev.txt

clean: ## remove .venv, caches and build output
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf tests/bench/jvm/target
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
