.PHONY: help setup test lint format data clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

setup:  ## .venv with the project, and the base model in the cache
	@scripts/setup.sh

test: setup  ## set up and run the tests
	.venv/bin/pytest

lint: setup  ## lint, formatting and static types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: setup  ## format the code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

data: setup  ## build the recipes' data again (needs Debian's package index)
	.venv/bin/python recipes/build_data.py

clean:  ## remove the environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
