from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae.saes.topk_search import batch_lower_bound, largest_in_rows


@given(st.integers(0, 10_000), st.sampled_from([1, 7, 256, 320, 512, 1000, 1024, 2304]), st.data())
@settings(max_examples=60, deadline=None)
def test_grouped_search_finds_the_largest(seed, width, data):
    """Also with many ties and with fewer distinct values than k."""
    k = data.draw(st.integers(1, min(width, 70)))
    levels = data.draw(st.sampled_from([2, 10, 10**6]))
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(-levels, levels, (5, width), generator=generator).float()
    values, columns = largest_in_rows(matrix, k)
    assert torch.equal(values.sort(1, descending=True).values, matrix.topk(k).values)
    assert torch.equal(matrix.gather(1, columns), values)
    assert all(len(set(row.tolist())) == k for row in columns)


def test_grouped_search_passes_infinities_and_nan_like_topk():
    matrix = torch.randn(3, 1024, generator=torch.Generator().manual_seed(0))
    matrix[0, 3], matrix[1, 1000], matrix[2, 5] = float("nan"), float("inf"), -float("inf")
    values, _ = largest_in_rows(matrix, 8)
    expected = matrix.topk(8).values
    for row in range(3):
        assert values[row].isnan().any() == expected[row].isnan().any()
    assert values[1].max() == float("inf")


@pytest.mark.parametrize("k", [1, 8, 64])
def test_lower_bound_leaves_enough_of_the_sample(k):
    sample = torch.randn(64, 640, generator=torch.Generator().manual_seed(k))
    lowest = batch_lower_bound(sample, k)
    above = (sample > lowest).sum().item()
    assert k * 64 <= above <= 1.35 * k * 64 + 2


def test_lower_bound_is_never_negative():
    assert batch_lower_bound(-torch.ones(4, 20), 3) == 0.0
