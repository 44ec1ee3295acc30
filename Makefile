# The two commands of a fresh machine: `make demo` and `make test`. Both make .venv if it is missing.
#   PYTHON=python3.12   the interpreter that .venv is made from
#   EXTRAS="mmdet"      extras of setup.cfg to install beside `detection`, `formats`, `slurm` and `dev`
#   TESTS=tests/tools   what `make test` runs
#   JOBS=1              how many tests run at once
#   US3L_DATA, US3L_REQUIRE, US3L_WHEELS: explained in tests/requirements.py and tools/setup_environment.py

PYTHON ?= python3
EXTRAS ?=
TESTS ?= tests
JOBS ?= 4
BIN = .venv/bin

.PHONY: demo test lint env system-deps clean

demo: env
	$(BIN)/python tools/demo.py

# One thread per test process: two tests at once fill two cores better than one test with two threads, and two more where
# some wait for a scheduler, a lock or a signal. Each worker gets its files in one piece, so that what a file sets up is
# mostly set up once, and takes from the others when it is done.
test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

env:
	@$(PYTHON) tools/setup_environment.py --extras detection dev formats slurm $(EXTRAS)

system-deps:
	@sh tools/system_deps.sh

# What tools leave behind; .venv, runs and data sets stay.
clean:
	rm -rf build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
