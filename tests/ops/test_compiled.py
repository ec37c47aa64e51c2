from __future__ import annotations

import os
import subprocess
import sys

import pytest

STEP = """
import logging, torch
logging.basicConfig()
from biosae.saes.topk import TopK
from biosae.training.learner import Learner
from biosae.training.settings import TrainerSettings
sae, x = TopK(16, 48, k=3), torch.randn(64, 16)
sae.fit_normaliser(x)
learner = Learner(sae, TrainerSettings(lr=1e-3), total_steps=10, total_tokens=640)
learner.step(x)
print("stepped", learner.n_steps)
"""


@pytest.mark.parametrize("content", ['raise ImportError("Numba needs NumPy 1.0 or less")', "njit = None"])
def test_a_numba_that_does_not_work_is_named_once_and_done_without(content, tmp_path):
    """As where numba does not know the numpy beside it yet."""
    (tmp_path / "numba.py").write_text(content)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", STEP], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["stepped", "1"], done.stderr
    assert done.stderr.count("numba is installed but does not work") == 1
