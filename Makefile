.PHONY: help setup run stack test test-vllm lint bench-adapters bench-engine bench-control bench-gateway bench-guard forgetting format docs screenshots data clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup:  ## .venv with the project, and the base model in the cache
	@scripts/setup.sh

run: setup  ## serve on 127.0.0.1:8000 (inference) and 127.0.0.1:8001 (admin)
	@cat scripts/try.txt
	@exec .venv/bin/gateway serve

stack: setup  ## Redis, two engines, two gateways and a Prometheus on this machine, without containers
	@exec .venv/bin/python -m scripts.stack

# A process a core, each file's tests in one of them, torch with one thread in each.
test: setup  ## set up and run the tests
	OMP_NUM_THREADS=1 .venv/bin/pytest -n auto --maxprocesses 8 --dist loadfile

test-vllm: setup  ## the tests that ask a real vLLM server on CPU (installs it in the cache, about 2 GB)
	VLLM_ENV=$$(scripts/vllm_env.sh) && export VLLM_ENV && .venv/bin/pytest -m vllm

lint: setup  ## lint, formatting and static types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench-control: setup  ## a disable across four replicas on a Redis, and a table of 10,000 workflows
	.venv/bin/python -m benchmarks.control

bench-guard: setup  ## the guard: false trips, answers until a trip, damaged adapters (about 12 minutes)
	.venv/bin/python -m benchmarks.guard

bench-gateway: setup  ## the gateway's own cost beside LiteLLM and vllm-router (about 10 minutes)
	.venv/bin/python -m benchmarks.gateway

format: setup  ## format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

bench-engine: setup  ## engine throughput against transformers and peft (about 5 minutes)
	.venv/bin/python -m benchmarks.engine

bench-adapters: setup  ## 2,000 adapters on 16 device slots beside 16 adapters (10 GB of disk, about 12 minutes)
	.venv/bin/python -m benchmarks.adapters

forgetting: setup  ## the forgetting experiment: an aggressive recipe and the default one (about 45 minutes)
	.venv/bin/python -m benchmarks.forgetting

docs: setup  ## make the reference and the tables of figures from the code and the results
	.venv/bin/python -m scripts.docs

screenshots: setup  ## take the pictures of docs/console.md again (needs Chromium; about 3 minutes)
	.venv/bin/python -m scripts.screenshots

data: setup  ## build the recipes' data again (needs Debian's package index)
	.venv/bin/python recipes/build_data.py

clean:  ## remove the environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
