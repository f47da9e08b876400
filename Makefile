# What can be done here. `make help` lists it.
SHELL := /bin/bash
BIN := .venv/bin
PORT ?= 8000
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev serve test test-fast lint format typecheck bench engine capacity scaling fuzz memory peers quality autoscaling loadtest lock clean

help: ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## System libraries, .venv, locked packages, pillow-simd for this CPU
	@scripts/setup serve

setup-dev: ## The same with what tests, linters and benchmarks need
	@scripts/setup dev

serve: setup ## The service in the foreground on 127.0.0.1:8000 (PORT=…, ARGS='--profile prod')
	@exec $(BIN)/omnishot serve --port $(PORT) $(ARGS)

test: setup-dev ## Every test
	@scripts/test $(ARGS)

test-fast: setup-dev ## Tests that start no service
	@$(BIN)/python -m pytest tests/unit tests/golden tests/contract -n logical $(ARGS)

lint: setup-dev ## Format, lint, types, and the borders between packages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: setup-dev ## Format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup-dev ## What got slower or faster since the baseline, in at most ten minutes
	@$(BIN)/python -m benchmarks.guard $(ARGS)

engine: setup-dev ## The engine alone: every row of the peers in one process
	@$(BIN)/python -m benchmarks.engine $(ARGS)

capacity: setup-dev ## What clusters carry, simulated: writes docs/capacity.md
	@$(BIN)/python -m benchmarks.simulator.capacity $(ARGS)

scaling: setup-dev ## Replicas, autoscaling and nodes of the real service on this machine
	@$(BIN)/python -m benchmarks.serving.scaling $(ARGS)

fuzz: setup-dev ## 20 000 broken files through the engine; what it should not do is kept in out/fuzz
	@$(BIN)/python -m benchmarks.fuzz $(ARGS)

memory: setup-dev ## What one task takes beyond the engine at rest, by rows
	@$(BIN)/python -m benchmarks.memory $(ARGS)

peers: setup-dev ## This service against Express + sharp on the same cores
	@$(BIN)/python -m benchmarks.peers.compare $(ARGS)

quality: setup-dev ## Bytes and CPU of our encoders and sharp's at equal quality
	@$(BIN)/python -m benchmarks.quality.compare $(ARGS)

autoscaling: setup-dev ## Loads on a simulated cluster of 64 nodes: how the Resizers follow
	@$(BIN)/python -m benchmarks.serving.autoscaling $(ARGS)

loadtest: setup-dev ## A load test with its report in out/ (ARGS='--shape spike'); starts the service
	@$(BIN)/omnishot loadtest $(ARGS)

lock: ## Lock the dependencies anew (needs uv)
	@scripts/lock

clean: ## Remove what was made here, the environment too
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis out \
		benchmarks/.cache benchmarks/peers/express_sharp/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
