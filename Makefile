# The everyday commands. All of them make the environment in .venv first, as ./run does.
BIN := .venv/bin
.PHONY: check test run lock bench config documents env nightly
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

# Ten million fuzzed inputs (an hour and a half on two cores); TOTAL=N another number, SEED=N others. A ten-thousandth of it is in ./test.
nightly: env
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --require-hashes --target .nightly -r requirements-nightly.lock
	$(BIN)/python -m tests.fuzz $(if $(TOTAL),--total $(TOTAL)) $(if $(SEED),--seed $(SEED))

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
