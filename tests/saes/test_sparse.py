"""Which matrices the GPU kernels get; the products themselves are tested with the codes and the pre-activations."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from biosae.saes import sparse


@pytest.fixture
def forgets_triton():
    """Looks for Triton anew in the test and after it."""
    sparse._triton_products.cache_clear()
    yield
    sparse._triton_products.cache_clear()


def on_gpu(dtype: torch.dtype) -> SimpleNamespace:
    return SimpleNamespace(is_cuda=True, dtype=dtype)


def test_float_matrices_on_a_gpu_go_to_the_kernels():
    pytest.importorskip("triton")
    kernels = sparse._kernels(on_gpu(torch.bfloat16))
    assert kernels.__name__ == "biosae.saes.triton_products"
    assert sparse._kernels(on_gpu(torch.float32)) is kernels


def test_doubles_and_matrices_elsewhere_do_not():
    assert sparse._kernels(on_gpu(torch.float64)) is None
    assert sparse._kernels(torch.zeros(2, 2)) is None


def test_without_triton_torch_does_it(forgets_triton, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "biosae.saes.triton_products", raising=False)
    assert sparse._kernels(on_gpu(torch.float32)) is None
