# Two targets do everything on a fresh machine with Python 3.11 to 3.13: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# A worker for every core; a model's tests stay together on one.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadgroup --durations=15
export TF_CPP_MIN_LOG_LEVEL := 2

.PHONY: demo test test-slow phone lint format docs bench runner clean

# At level 3 TensorFlow keeps quiet about the graphics card a machine does not have.
demo: export TF_CPP_MIN_LOG_LEVEL := 3
demo: $(VENV)/.installed
	$(BIN)/python examples/01_classify.py
	@echo
	$(BIN)/keras-effvit list
	@echo
	$(BIN)/python examples/02_export.py --folder artifacts
	@echo
	$(BIN)/keras-effvit bench artifacts/*/*/model.tflite --host --profile --output artifacts/latency-host.json --overwrite
	$(BIN)/keras-effvit report artifacts

test: phone
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-slow: phone
	$(PYTEST) -m slow $(PYTEST_ARGS)

# What tests with phones need: adb and qemu (as root), Debian's packages for a phone in a box.
phone: $(VENV)/.installed
	$(BIN)/python -m tests.phones

lint: $(VENV)/.linters $(VENV)/.documenters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation, into site/index.html, without the notice that material prints of its successor.
docs: export NO_MKDOCS_2_WARNING := 1
docs: export TF_CPP_MIN_LOG_LEVEL := 3
docs: $(VENV)/.documenters
	$(BIN)/mkdocs build --strict --quiet

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/forward.py
	$(BIN)/python benchmarks/load_weights.py
	$(BIN)/python benchmarks/lite.py

# The programs that `keras-effvit bench` runs, for phones and hosts; they are under version control.
runner: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[runner]"
	$(BIN)/python tflite/runner/build.py

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@

$(VENV)/.linters: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[lint]"
	touch $@

$(VENV)/.documenters: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) build dist site .cache .pytest_cache .ruff_cache .hypothesis
