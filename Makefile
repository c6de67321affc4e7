# Everything starts here: `make demo` runs the main job, `make test` passes the tests. Both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODEL := .cache/models/SmolLM2-135M-Instruct
DEMO_DATA := .cache/data/messages.jsonl

.DEFAULT_GOAL := help
.PHONY: help setup demo story test e2e lint bench lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Make the virtual environment

$(VENV)/.ready: requirements.lock tools/setup.sh
	PYTHON=$(PYTHON) tools/setup.sh $(VENV)

$(MODEL)/model.safetensors: tools/fetch_model.py | $(VENV)/.ready
	$(BIN)/python -m tools.fetch_model $(MODEL)

$(DEMO_DATA): tools/fetch_messages.py | $(VENV)/.ready
	$(BIN)/python -m tools.fetch_messages $(DEMO_DATA)

demo: $(VENV)/.ready $(MODEL)/model.safetensors $(DEMO_DATA) ## Adapt a real LLM on this machine, then verify and replay its log
	$(BIN)/python -m tools.demo examples/quickstart.yaml

story: $(VENV)/.ready $(MODEL)/model.safetensors ## Tell the drift story: operator, rounds, gate, canary, rollback, all on this machine
	$(BIN)/python -m tools.story --model $(MODEL) --out story

test: $(VENV)/.ready $(MODEL)/model.safetensors ## Run every check and every test
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -m "not vllm" --numprocesses 2 --dist worksteal
	$(BIN)/python -m pytest -m vllm  # one after another: an engine needs every core to itself

e2e: $(VENV)/.ready $(MODEL)/model.safetensors $(DEMO_DATA) ## Test on the cluster that KUBECONFIG points to, with helm and kubectl
	$(BIN)/python -m pytest tests/e2e --verbose --capture=no --no-header

lint: $(VENV)/.ready ## Style, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.chart --check

bench: $(VENV)/.ready $(MODEL)/model.safetensors $(DEMO_DATA) ## Time a step against the LOZO loop and a plain forward
	$(BIN)/python -m bench.step --model $(MODEL)

lock: $(VENV)/.ready ## Write down the versions of the present environment
	$(BIN)/python -m tools.lock > requirements.lock

clean: ## Remove what the commands above made
	rm -rf $(VENV) .cache demo story
