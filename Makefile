# `make demo` and `make test` do everything on a fresh machine; the other targets are their parts.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
# Waiting OpenMP threads would spin on cores that other processes need.
export OMP_WAIT_POLICY := PASSIVE
# Tests run in two processes of one thread each; WORKERS=0 runs them in one process.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test test-all install lint types tests slow-tests clean

demo: install
	$(BIN)/residual-ssl train experiment=digits algorithm=supervised run_dir=$(DEMO)/warm-up evaluate_every=300
	$(BIN)/residual-ssl train experiment=digits algorithm=supervised init_from=$(DEMO)/warm-up/last.pt run_dir=$(DEMO)/labels-only
	$(BIN)/residual-ssl train experiment=digits algorithm=unimatch selector=none init_from=$(DEMO)/warm-up/last.pt run_dir=$(DEMO)/no-selection
	$(BIN)/residual-ssl train experiment=digits algorithm=unimatch init_from=$(DEMO)/warm-up/last.pt run_dir=$(DEMO)/threshold-0.95
	$(BIN)/residual-ssl train experiment=digits algorithm=csl init_from=$(DEMO)/warm-up/last.pt run_dir=$(DEMO)/csl
	$(BIN)/residual-ssl report $(addprefix $(DEMO)/,labels-only no-selection threshold-0.95 csl) --out $(DEMO)/report.html

test: lint types tests

# The same and what takes minutes, fuzzing at length included.
test-all: test slow-tests

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; set PYTHON=" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check

# Types are checked on the package as it installs, with tasks/ and configs/ in their places.
types: install
	rm -rf build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target build/types .
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache --package residual_ssl

tests: install
	$(PYTEST) -m "not slow"

slow-tests: install
	HYPOTHESIS_PROFILE=long $(PYTEST) -m slow

clean:
	rm -rf .venv build
