# The everyday commands. All of them make the environment in .venv first, as ./run does.
BIN := .venv/bin
.PHONY: check test run lock bench config documents env
.DEFAULT_GOAL := check

env:
	@./run --setup-only

# Style, types, unit tests and 200 simulated histories: under two minutes.
check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/python -m pytest tests/unit
	$(if $(wildcard tools/simulate.py),$(BIN)/homing simulate --seeds 200)

test:
	./test

run:
	./run

bench: env
	$(BIN)/homing bench

# Pins the dependencies of both setup.cfg files anew; UPGRADE=1 takes the newest versions.
lock: env
	$(BIN)/python .ci/lock $(if $(UPGRADE),--upgrade)
	./run --setup-only

# Writes the published documents anew from the structs and routes in the code.
documents: env
	$(BIN)/homing documents

# Writes the examples in config/ anew from the types in the code.
config: env
	$(BIN)/python .ci/config_examples.py
