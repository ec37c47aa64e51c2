"""Products over a support on a CPU; the other products are tested with the codes and the pre-activations."""

from __future__ import annotations

import pytest
import torch

from biosae.ops.sparse_products import dot_products
from biosae.ops.support import Support

from .backends import only_torch


@pytest.fixture(params=[True, False], ids=["numba", "torch"])
def with_numba(request, monkeypatch):
    """Both ways, and two threads, so that rows are shared out."""
    if request.param:
        pytest.importorskip("numba")
    else:
        only_torch(monkeypatch)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("width", [1, 7, 64, 133])
def test_dot_products_are_those_of_the_dense_product(width, share, with_numba):
    """Rows have any number of entries, none, and numbers that four does not divide."""
    generator = torch.Generator().manual_seed(width)
    left, right = (torch.randn(n, width, generator=generator) for n in (23, 40))
    support = Support.from_mask(torch.rand(23, 40, generator=generator) < share)
    expected = (left.double() @ right.double().t())[support.rows, support.features]
    found = dot_products(support, left, right)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)
    strided = dot_products(support, left.t().contiguous().t(), right)
    torch.testing.assert_close(strided, found)


def test_not_a_number_is_not_hidden(with_numba):
    support = Support.from_indices(torch.tensor([[0, 2], [1, 0]]), 3)
    right = torch.ones(3, 5)
    right[2, 3] = float("nan")
    assert dot_products(support, torch.ones(2, 5), right).isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_entries_by_feature_keep_the_order_of_rows(share, with_numba):
    support = Support.from_mask(torch.rand(23, 40, generator=torch.Generator().manual_seed(0)) < share)
    order, expected = support.by_feature, support.features.argsort(stable=True)
    assert torch.equal(order.entries, expected)
    assert torch.equal(order.rows, support.rows[expected])
    assert torch.equal(order.offsets.diff(), torch.bincount(support.features, minlength=40))
