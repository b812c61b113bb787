# make demo: the whole pipeline on five complexes    make test: the tests    make lint: the checks of CI
# Everything is installed into .venv, with the pins of constraints.txt. ARGS is passed on: make test ARGS="-k torsions"

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	if $$python -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)
ARGS ?=
BIN := .venv/bin

EXTRAS_demo := demo
EXTRAS_docs := demo,docs
EXTRAS_test := demo,test
EXTRAS_lint := demo,test,dev
# An independent implementation of rigid motions for the tests, without the heavy packages it asks for.
ORACLES_test := openfold3==0.5.0

# Tests in two processes, see tests/conftest.py.
IN_TWO := -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: demo docs test test-slow test-slurm lint wheel gpu-check bench bench-peers clean

# The commands of .venv come first for the jobs too, whatever else is on the PATH.
demo: .venv/.installed-demo
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake $(ARGS)

test: .venv/.installed-test
	$(BIN)/python -m pytest -m "not slow" $(if $(ARGS),,$(IN_TWO) --cov=bindrae --cov-report= --cov-fail-under=80) $(ARGS)

test-slow: .venv/.installed-test
	$(BIN)/python -m pytest $(ARGS)

# A real Slurm of one node on this machine: root, Debian 12 or Ubuntu 24.04; about half an hour on two cores.
test-slurm: .venv/.installed-test
	$(BIN)/python -m pytest -m slurm tests/workflow/test_slurm.py $(ARGS)

lint: .venv/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pylint --jobs 2 --score yes bindrae
	$(BIN)/snakefmt --check workflow
	$(BIN)/snakemake --lint

# Source archive and, from it alone, the wheel, in dist/. make test looks at both, make test-slow installs the wheel.
wheel: .venv/.installed-test
	rm -rf dist build
	$(BIN)/python -m hatchling build --target sdist --directory dist
	mkdir -p build && tar --extract --gzip --file dist/bindrae-*.tar.gz --directory build
	cd build/bindrae-* && $(CURDIR)/$(BIN)/python -m hatchling build --target wheel --directory $(CURDIR)/dist
	rm -rf build

# The documentation site, in build/site; without network once the packages are there.
docs: .venv/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

# For whoever has a GPU: prints a table to paste.
gpu-check: .venv/.installed-demo
	$(BIN)/python -m bindrae.model.gpu_check

# Ours against others in all parts, or in one: make bench-fk. Writes docs/benchmarks.md and the numbers of README.md:
# make bench ARGS="--data results/casf2016/data --root /where/CASF-2016"
bench: .venv/.installed-demo
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bindrae.benchmark.suite $(ARGS)

bench-%: .venv/.installed-demo
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bindrae.benchmark.suite $* $(ARGS)

# Our model and the packers of others on the same files: make bench-peers ARGS="/where/CASF-2016 --model model.safetensors"
bench-peers: .venv/.installed-demo
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bindrae.benchmark.peers $(ARGS)

# Installs only when the stamp is older than what it depends on. An editable install follows the sources by itself.
.venv/.installed-%: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS_$*)]'
	$(if $(ORACLES_$*),$(BIN)/python -m pip install --quiet --no-deps $(ORACLES_$*))
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Leaves results/ and Snakemake's records of them alone.
clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find bindrae tests -name __pycache__ -type d -prune -exec rm -rf {} +
