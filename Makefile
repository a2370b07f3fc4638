# Everything sets itself up in .venv; `make measure` and `make test` work on a fresh clone.
PYTHON ?= python3
BIN := .venv/bin

# Every measurement of speed, each with its table on stdout and its JSON in benchmarks/results (a quick look writes none).
BENCHMARKS := $(wildcard $(addprefix benchmarks/,cold_start.py engine.py reference.py lockstep.py distance.py growth.py))

.PHONY: measure figures claims test test-slow test-cuda browser faults check format docs docs-serve bench bench-quick clean

# The main job on the embedded default: the EMC of an MLP on digits with random labels.
measure: .venv/.installed
	$(BIN)/emc measure --model mlp --data digits --labels random --plot emc.png

# The paper's claims, tested on a journal: make claims JOURNAL=.emc/journal.jsonl
JOURNAL ?= figures/cpu/journal.jsonl.gz
claims: .venv/.installed
	$(BIN)/emc claims $(JOURNAL)

# Two processes of one thread each: on nets as tiny as the tests' a second thread only spins.
test: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadgroup -m "not slow"

# The rest of the tests: processes and clusters that are started and killed, the page in a browser, long trainings.
test-slow: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadgroup -m slow

# What differs on a GPU; skipped where there is none.
test-cuda: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m cuda

# What the page of `emc report` is tested in; asks for root. Without it those tests are skipped.
browser:
	apt-get update --quiet --quiet && apt-get install --quiet --quiet --yes --no-install-recommends chromium

# Every fault a sweep has to survive, injected in full (the tests do a few of each); one table at the end. Minutes.
faults: .venv/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadgroup --trials full -m faults

# Lint, format, types and import contracts: what CI runs before the tests.
check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation, into site/: links and anchors are checked, and any warning is an error.
docs: .venv/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-serve: .venv/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --livereload

# Within an hour on two cores. CIFAR-10 is taken from EMC_DATA; without it those cases are skipped.
bench: .venv/.installed
	@for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python $$script $(QUICK) || exit 1; done

bench-quick:
	$(MAKE) bench QUICK=--quick

# Every study of the paper, and what it lacks, at a scale: smoke, cpu, gpu or paper (figures/scales.py). What is measured
# already is not measured again. WITH_DATA names a folder with CIFAR-10, Adult and Credit (figures/pools.py), measured too.
SCALE ?= cpu
figures: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m figures --scale $(SCALE) $(if $(WITH_DATA),--with-data $(WITH_DATA))

# Debian ships venv apart from Python; virtualenv stands in for it.
$(BIN)/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  $(PYTHON) -m pip install --quiet --target .bootstrap virtualenv && \
	  PYTHONPATH=.bootstrap $(PYTHON) -m virtualenv --quiet .venv && rm -rf .bootstrap; }

.venv/.installed: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ .venv/.installed

clean:
	rm -rf .venv .bootstrap build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
