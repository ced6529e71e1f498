# `make demo` and `make test` do everything on a fresh machine; the other targets are their parts.
PYTHON ?= python3
BIN := .venv/bin
DEMO := runs/demo
# Waiting OpenMP threads would spin on cores that other processes need.
export OMP_WAIT_POLICY := PASSIVE
# Tests run in two processes of one thread each; WORKERS=0 runs them in one process.
WORKERS ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo demo-labels-only demo-no-selection demo-threshold-0.95 demo-csl test test-all install lint types docs tests slow-tests clean

demo: install
	$(BIN)/residual-ssl train experiment=digits algorithm=supervised run_dir=$(DEMO)/warm-up evaluate_every=300
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory --jobs 2 demo-csl demo-threshold-0.95 demo-no-selection demo-labels-only
	$(BIN)/residual-ssl report $(addprefix $(DEMO)/,labels-only no-selection threshold-0.95 csl) --out $(DEMO)/report.html
	@printf '%s\n' '' 'Open $(DEMO)/report.html in a browser. To try next:' \
	  '  $(BIN)/residual-ssl train --images FOLDER algorithm=fixmatch --labelled 40    your images, in a folder for each class' \
	  '  $(BIN)/residual-ssl train --images FOLDER --masks FOLDER --classes a,b algorithm=csl    images with some masks' \
	  '  $(BIN)/residual-ssl predict RUN FOLDER --out predictions/    labels, confidence and trust of files' \
	  '  $(BIN)/residual-ssl list selectors    what else decides which pseudo-labels to trust'

# The four trainings that are compared, two at a time with a thread each; all go on from the same warm-up.
demo-labels-only: CHOICE = algorithm=supervised
demo-no-selection: CHOICE = algorithm=unimatch selector=none
demo-threshold-0.95: CHOICE = algorithm=unimatch
demo-csl: CHOICE = algorithm=csl
demo-labels-only demo-no-selection demo-threshold-0.95 demo-csl: demo-%:
	$(BIN)/residual-ssl train experiment=digits steps=240 evaluate_every=60 $(CHOICE) init_from=$(DEMO)/warm-up/last.pt run_dir=$(DEMO)/$*

test: lint types docs tests

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

# The site, in build/site; a warning or a link that leads nowhere is an error.
docs: install
	$(BIN)/sphinx-build -q --fail-on-warning --keep-going -b html -c docs/site -d build/doctrees . build/site

tests: install
	$(PYTEST) -m "not slow"

slow-tests: install
	HYPOTHESIS_PROFILE=long $(PYTEST) -m slow

clean:
	rm -rf .venv build
