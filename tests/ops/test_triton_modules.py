"""Which matrices the GPU kernels get; what they do is tested beside each."""

from __future__ import annotations

import sys
from subprocess import CalledProcessError
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

from biosae.ops import triton_modules
from biosae.ops.triton_modules import triton_modules as kernels_for

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def forgets_triton():
    """Looks for Triton anew in the test and after it."""
    triton_modules._module.cache_clear()
    yield
    triton_modules._module.cache_clear()


def on_gpu(dtype: torch.dtype) -> SimpleNamespace:
    """What is asked of a matrix; tests have no GPU for a real one."""
    return SimpleNamespace(is_cuda=True, dtype=dtype, device=DEVICE)


def test_float_matrices_on_a_gpu_go_to_the_kernels():
    pytest.importorskip("triton")
    for name in ("products", "search"):
        module = kernels_for(name, on_gpu(torch.bfloat16))
        assert module.__name__ == f"biosae.saes.triton_{name}"
        assert kernels_for(name, on_gpu(torch.float32)) is module


def test_doubles_and_matrices_elsewhere_do_not():
    assert kernels_for("products", on_gpu(torch.float64)) is None
    assert kernels_for("products", torch.zeros(2, 2)) is None


def test_without_triton_torch_does_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "biosae.ops.triton_products", raising=False)
    assert kernels_for("products", on_gpu(torch.float32)) is None


FAILURES = [RuntimeError("no C compiler"), CalledProcessError(1, "gcc"), FileNotFoundError("cc")]


@pytest.mark.parametrize("reason", FAILURES)
def test_where_triton_cannot_build_torch_does_it_and_says_so(reason, monkeypatch, caplog):
    module = Mock()
    module.try_out.side_effect = reason
    monkeypatch.setattr(triton_modules.importlib, "import_module", lambda *_: module)
    assert kernels_for("products", on_gpu(torch.float32)) is None
    assert kernels_for("products", on_gpu(torch.float32)) is None
    assert [str(reason) in message for message in caplog.messages] == [True]
