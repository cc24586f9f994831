PYTHON ?= python3
BIN := .venv/bin
RUN := runs/demo

.PHONY: demo test quick lint wheel-check lowest docs clean

# As many processes as cores, each with one thread.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

demo: .venv/installed
	rm -rf $(RUN)
	$(BIN)/python train_supernet.py --config recipes/digits_demo.yaml --output $(RUN)/supernet
	$(BIN)/python search.py --config recipes/digits_demo_search.yaml \
		--supernet $(RUN)/supernet/last.pt --output $(RUN)/search --export $(RUN)/subnet

test: .venv/installed
	$(PYTEST)

# Without slow tests, and one set of parameters of each test: about two minutes on two cores.
quick: .venv/installed
	$(PYTEST) -m "not slow" --first-parameters

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The wheel holds what it should, and its commands run outside of this checkout.
wheel-check: .venv/installed
	$(BIN)/python .ci/wheel_check.py

# The quick tests with the lowest versions that are claimed, without ONNX; downloads gigabytes.
lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install -c tests/lowest-versions.txt -e '.[pandas,ray]' pytest pytest-xdist 'setuptools>=77'
	.venv-lowest/bin/python -m pytest -n auto --dist worksteal -m "not slow" --first-parameters \
		--ignore tests/supernets/cli/test_export.py

docs: .venv/docs-installed
	$(BIN)/python -m mkdocs build --strict

.venv/docs-installed: .venv/installed
	$(BIN)/python -m pip install -e '.[docs]'
	touch $@

# Installed once, and again when the dependencies change.
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -e '.[test]'
	touch $@

clean:
	rm -rf .venv .venv-lowest runs build *.egg-info
