# make demo   install, then cells -> model -> SAE -> features -> scores -> report (no network after the install)
# make test   lint and the whole test suite
#
# PYTHON=  the Python to make the environment from; its torch is used if it has one
# VENV=    the environment, made if it is not there
# TORCH=   a requirement such as torch==2.7.1 instead of the build that scripts/install_torch.py chooses

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt

.PHONY: demo test lint browser clean

demo: $(VENV)/installed
	$(BIN)/biosae run

# A process that crashes ends the run: given its work again, another would wait for ever (pytest-xdist issue 1378).
test: $(VENV)/installed-dev browser lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 $(PYTEST)

# The report is tested in a real browser: continuous integration installs one, elsewhere those tests are skipped without it.
browser:
	@if [ "$$CI" = true ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq chromium >/dev/null; fi

# As modules, because the packages of PYTHON, which has torch, have their commands elsewhere.
lint: $(VENV)/installed-dev
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -c 'from importlinter.cli import lint_imports_command as lint_imports; lint_imports()'

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "biosae needs Python 3.11 or newer; name one with PYTHON=...")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml constraints.txt
	$(BIN)/python scripts/install_torch.py $(PYTHON) $(TORCH)
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs
