# Two commands for everybody: `make demo` and `make test`. Each sets everything up by itself.
.PHONY: demo test unit coverage check bench crash soak truth setup lock wheel clean
HEADLESS ?=
DEMO_HOME ?= $(CURDIR)/.pveops
BIN := .venv/bin
# without it every process of ours, and there are hundreds in the tests, compiles all its modules anew
unexport PYTHONDONTWRITEBYTECODE

demo: setup            ## everything on a simulated cluster; HEADLESS=1 runs the tour and leaves
	@exec env PVEOPS_HOME="$(DEMO_HOME)" $(BIN)/pveops up --sim $(if $(HEADLESS),--headless --tour)

test:                  ## all tests; real processes, kernels and a browser among them
	@.ci/setup browser servers
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" tests/unit tests/arch
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m slow

unit: setup            ## the quick part
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" tests/unit tests/arch

coverage: setup        ## every branch of the guard is run by the guard's own tests, or this fails
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -k "not PostgreSQL and not runTest and not ten_thousand" --cov=pveops/guard \
	  --cov-report=term-missing:skip-covered --cov-fail-under=100 tests/unit/guard tests/contract/test_dispatchers.py

check: setup           ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup           ## measured against named rivals, in one run
	$(BIN)/python benchmarks/reads.py
	$(BIN)/python benchmarks/execution.py
	$(BIN)/python benchmarks/policy.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/logs.py
	$(BIN)/python benchmarks/inventory.py
	$(BIN)/python benchmarks/sim.py

soak: setup            ## 24 simulated hours with 3,000 guests; takes half a minute
	$(BIN)/python -m pytest -q -n 0 -s tests/contract/sim/telemetry/test_soak.py

truth: setup           ## the simulated cluster against recorded answers of the real API
	$(BIN)/python -m tests.contract.sim.truth
	$(BIN)/python -m pytest -q -n 0 -s tests/contract/sim/test_replay.py

crash: setup           ## kill executor and cluster RUNS times, at every boundary and at random; writes docs/crashes.md
	@.ci/setup servers
	$(BIN)/python -m pveops.testing.crashes --runs $(or $(RUNS),500) --page docs/crashes.md

setup:
	@.ci/setup

lock:                  ## write the lock file anew
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements.lock

wheel: setup           ## build the wheel into dist/
	$(BIN)/uv build -q --wheel

clean:
	rm -rf .venv dist .pveops test-artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
