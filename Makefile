# make demo   install, then cells -> model -> SAE -> features -> scores -> report (no network after the install)
# make test   lint and the whole test suite, as .ci/run does

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

# Without a GPU the default Linux build of torch would bring gigabytes of CUDA libraries, so the CPU build is asked for.
ifeq ($(shell uname -s)$(shell command -v nvidia-smi),Linux)
TORCH ?= torch==2.13.0+cpu
else
TORCH ?= torch==2.13.0
endif

define NO_CPU_TORCH

pip finds no CPU build of torch here. Either let it see one (the PyTorch install page names the index: set
PIP_EXTRA_INDEX_URL to it), or accept the default build with its gigabytes of CUDA libraries: make TORCH=torch==2.13.0
endef
export NO_CPU_TORCH

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

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "biosae needs Python 3.11 or newer; name one with PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml constraints.txt
	$(PIP) '$(TORCH)' || { echo "$$NO_CPU_TORCH"; exit 1; }
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) runs
