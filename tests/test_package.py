"""What the package promises as a whole: light imports, and stages that need no torch."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["biosae.analysis.score_features", "biosae.atlas.page"])
def test_analysis_and_report_do_not_load_torch(module):
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_importing_the_package_loads_no_heavy_library():
    code = "import biosae, sys; print([m for m in ('torch', 'anndata', 'pandas', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("given", "expected"), [({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5")])
def test_commands_keep_idle_threads_of_torch_from_waiting_busily(given, expected):
    code = "import os, sys, biosae.cli; print(os.environ['GOMP_SPINCOUNT'], 'torch' in sys.modules)"
    others = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run([sys.executable, "-c", code], env=others | given, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected, "False"]
