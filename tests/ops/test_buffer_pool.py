from __future__ import annotations

import pytest
import torch

from biosae.ops import buffer_pool, sparse_products, torch_backend
from biosae.ops.support import Support


@pytest.fixture(autouse=True)
def no_memory_of_other_tests():
    buffer_pool._free.clear()


def test_memory_is_lent_again_only_when_nothing_holds_it():
    first = buffer_pool.take(4, 5)
    place, view = first.data_ptr(), first.t()[2:]
    del first
    assert buffer_pool.take(4, 5).data_ptr() != place
    view.fill_(7)
    del view
    assert place in (buffer_pool.take(4, 5).data_ptr(), buffer_pool.take(5, 4).data_ptr())


def test_free_memory_of_one_size_goes_when_another_is_asked_for():
    lent = buffer_pool.take(4, 5)
    del lent
    buffer_pool.take(3, 5)
    assert not buffer_pool._free[20]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_large_sums_are_bit_for_bit_those_at_once(share, monkeypatch):
    """In parts of two rows of the result, the last one incomplete; some rows have no entry."""
    generator = torch.Generator().manual_seed(0)
    support = Support.from_mask(torch.rand(31, 7, generator=generator) < share)
    weights, matrix = torch.randn(len(support.features), generator=generator), torch.randn(7, 5, generator=generator)
    at_once = sparse_products.weighted_sums(weights, support.features, support.row_offsets, matrix)
    monkeypatch.setattr(buffer_pool, "LARGE", 10)
    monkeypatch.setattr(torch_backend, "PART_VALUES", 10)
    in_parts = sparse_products.weighted_sums(weights, support.features, support.row_offsets, matrix)
    assert torch.equal(in_parts, at_once)
    dense = torch.zeros(31, 7).index_put((support.rows, support.features), weights) @ matrix
    torch.testing.assert_close(in_parts, dense, rtol=0, atol=1e-5)


def test_gradients_on_lent_memory_do_not_overwrite_each_other(monkeypatch):
    """Two steps in a row, with the gradients of the first still held."""
    monkeypatch.setattr(buffer_pool, "LARGE", 1)
    support, matrix = Support.from_indices(torch.tensor([[0, 2], [1, 0]]), 3), torch.ones(3, 4, requires_grad=True)
    gradients = []
    for scale in (1.0, 10.0):
        values = torch.full((4,), scale)
        sparse_products.decode(values, support, matrix).sum().backward()
        gradients.append(matrix.grad)
        matrix.grad = None
    torch.testing.assert_close(gradients[1], 10 * gradients[0], rtol=0, atol=0)
    assert gradients[0].sum() == 16
