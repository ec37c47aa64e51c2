from __future__ import annotations

from math import isnan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae.ops import torch_backend
from biosae.ops.topk_search import batch_lower_bound, entries_above, largest_in_rows, largest_of_all, nth_largest

from .backends import only_torch

SEARCHES = {"chosen": largest_in_rows, "torch": torch_backend.largest_in_rows}


@pytest.fixture(autouse=True)
def two_threads():
    """So that compiled searches share out their rows."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("search", SEARCHES)
@given(st.integers(0, 10_000), st.sampled_from([1, 7, 256, 320, 512, 1000, 1024, 2304]), st.data())
@settings(max_examples=60, deadline=None)
def test_search_finds_the_largest(search, seed, width, data):
    """Also with many ties and with fewer distinct values than k."""
    k = data.draw(st.integers(1, min(width, 70)))
    levels = data.draw(st.sampled_from([2, 10, 10**6]))
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(-levels, levels, (5, width), generator=generator).float()
    values, columns = SEARCHES[search](matrix, k)
    assert torch.equal(values.sort(1, descending=True).values, matrix.topk(k).values)
    assert torch.equal(matrix.gather(1, columns), values)
    assert all(len(set(row.tolist())) == k for row in columns)


@pytest.mark.parametrize("search", SEARCHES)
def test_search_passes_infinities_and_nan_like_topk(search):
    matrix = torch.randn(3, 1024, generator=torch.Generator().manual_seed(0))
    matrix[0, 3], matrix[1, 1000], matrix[2, 5] = float("nan"), float("inf"), -float("inf")
    values, _ = SEARCHES[search](matrix, 8)
    expected = matrix.topk(8).values
    for row in range(3):
        assert values[row].isnan().any() == expected[row].isnan().any()
    assert values[1].max() == float("inf")


@pytest.mark.parametrize("search", SEARCHES)
def test_rows_need_not_be_alike(search):
    """The compiled search guesses from the row before: far too high, far too low, of numbers too close to bin."""
    scales = torch.tensor([1.0, 1e-30, 1e30, 0.0, -1.0, 1e-44, 1.0, 0.9, 30.0])
    matrix = torch.randn(9, 512, generator=torch.Generator().manual_seed(3)).abs() * scales[:, None]
    matrix[7, 5:] = -1.0  # fewer positive entries than wanted
    values, columns = SEARCHES[search](matrix, 9)
    assert torch.equal(values.sort(1, descending=True).values, matrix.topk(9).values)
    assert torch.equal(matrix.gather(1, columns), values)


@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([1, 33, 256]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_entries_above_are_those_of_a_comparison(seed, n_rows, width, one_each):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(-3, 4, (n_rows, width), generator=generator).float()
    matrix[torch.rand(matrix.shape, generator=generator) < 0.05] = float("nan")
    lowest = torch.randint(-3, 4, (width,), generator=generator).float() if one_each else 1.0
    positions, values = entries_above(matrix, lowest)
    expected = (matrix > lowest).flatten().nonzero().squeeze(1)
    assert torch.equal(positions, expected) and torch.equal(values, matrix.flatten()[expected])


def test_without_numba_the_answers_are_the_same(monkeypatch):
    matrix = torch.randn(7, 512, generator=torch.Generator().manual_seed(1))
    fast = entries_above(matrix, 0.5), largest_in_rows(matrix, 9)
    only_torch(monkeypatch)
    plain = entries_above(matrix, 0.5), largest_in_rows(matrix, 9)
    assert all(torch.equal(*pair) for pair in zip(fast[0], plain[0], strict=True))
    assert torch.equal(fast[1][0].sort(1).values, plain[1][0].sort(1).values)


@pytest.mark.parametrize("k", [1, 8, 64])
def test_lower_bound_leaves_enough_of_the_sample(k):
    sample = torch.randn(64, 640, generator=torch.Generator().manual_seed(k))
    lowest = batch_lower_bound(sample, k)
    above = (sample > lowest).sum().item()
    assert k * 64 <= above <= 1.35 * k * 64 + 2


@pytest.mark.parametrize("n", [1, 7, 50, 99, 100])
def test_nth_largest_and_the_first_of_equal_ones(n):
    values = torch.randint(0, 20, (100,), generator=torch.Generator().manual_seed(n)).float()
    order = values.sort(descending=True, stable=True)
    assert nth_largest(values, n) == order.values[n - 1]
    assert torch.equal(largest_of_all(values, n), order.indices[:n].sort().values)


def test_not_a_number_is_the_largest_of_all():
    assert isnan(nth_largest(torch.tensor([1.0, float("nan"), 3.0]), 1))
    assert nth_largest(torch.tensor([1.0, float("nan"), 3.0]), 2) == 3


def test_lower_bound_is_never_negative():
    assert batch_lower_bound(-torch.ones(4, 20), 3) == 0.0


def test_what_is_found_does_not_depend_on_the_number_of_threads():
    pytest.importorskip("numba")
    matrix = torch.randn(64, 512, generator=torch.Generator().manual_seed(2)).round(decimals=1)  # with ties
    two = largest_in_rows(matrix, 9)
    torch.set_num_threads(1)
    assert all(torch.equal(*pair) for pair in zip(two, largest_in_rows(matrix, 9), strict=True))
