"""Fixtures of several folders.

Without a GPU Triton's kernels run in its interpreter, which has to be said before it is imported.
"""

from __future__ import annotations

import os

import pytest
import torch

os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")

needs_onednn = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="needs a build of torch with oneDNN"
)


@pytest.fixture(params=[pytest.param(True, marks=needs_onednn), False], ids=["onednn", "mkl"])
def by_onednn(request, monkeypatch) -> bool:
    """Whether products without gradient go to oneDNN, whatever the machine would choose."""
    monkeypatch.setattr("biosae.ops.linear.onednn_is_faster", lambda: request.param)
    return request.param
