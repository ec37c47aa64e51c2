"""The GPU search for the largest entries: on a GPU where there is one, else in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from biosae.ops.triton_modules import KERNEL_TYPES

pytest.importorskip("triton")
from biosae.ops import triton_search

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def check(matrix: torch.Tensor, k: int) -> None:
    """Values stand where the columns say, no column twice, and as a set they are those of a full sort."""
    values, columns = triton_search.largest_in_rows(matrix, k)
    assert values.dtype == matrix.dtype
    assert torch.equal(matrix.gather(1, columns).nan_to_num(nan=1e4), values.nan_to_num(nan=1e4))
    assert all(len(set(row)) == k for row in columns.tolist())
    expected = matrix.float().sort(dim=1, descending=True).values[:, :k]
    found = values.float().sort(dim=1, descending=True).values
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


@given(
    width=st.sampled_from([1, 7, 100, 1000, 1024, 4097]),
    dtype=st.sampled_from(KERNEL_TYPES),
    levels=st.sampled_from([1, 10, 10**6]),
    seed=st.integers(0, 1000),
    data=st.data(),
)
@settings(max_examples=25, deadline=None)
def test_it_finds_the_largest(width, dtype, levels, seed, data):
    """Also with many ties, and with fewer distinct values than k."""
    k = data.draw(st.integers(1, min(width, 70)))
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(-levels, levels, (3, width), generator=generator).to(DEVICE, dtype)
    assert triton_search.fits(width, k)
    check(matrix, k)


@pytest.mark.parametrize("dtype", KERNEL_TYPES)
def test_not_a_number_is_largest_and_infinities_have_their_place(dtype):
    matrix = torch.randn(3, 1024, generator=torch.Generator().manual_seed(0)).to(DEVICE, dtype)
    matrix[0, 3], matrix[0, 900], matrix[1, 1000] = float("nan"), -float("nan"), float("inf")
    matrix[2] = -float("inf")
    check(matrix, 8)


def test_every_size_of_a_dictionary_fits_with_a_usual_k():
    for width in (32, 1000, 36_864, 327_680, 10**6):
        assert triton_search.fits(width, min(64, width // 2))


def test_rows_without_room_are_left_to_torch():
    assert not triton_search.fits(10**6, 10_000)


def test_no_rows_have_no_largest():
    values, columns = triton_search.largest_in_rows(torch.zeros(0, 20, device=DEVICE), 3)
    assert values.shape == columns.shape == (0, 3)
