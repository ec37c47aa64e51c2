"""Expression bins against numpy's quantiles and the digits of the official code."""

import json

import anndata
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from biosae.models.binning import bin_counts


def official_range(counts, n_bins=51):
    """Lowest and highest digit of each count, by numpy as the official code does it."""
    edges = np.quantile(counts, np.linspace(0, 1, n_bins - 1))
    left, right = np.digitize(counts, edges), np.digitize(counts, edges, right=True)
    return right, left


@given(st.lists(st.integers(1, 30), min_size=1, max_size=160))
def test_draws_choose_the_digits_of_the_official_code(values):
    counts = np.array(values, dtype=np.float32)
    right, left = official_range(counts)
    draw = np.random.default_rng(0).random(len(counts))
    ours = bin_counts(sparse.csr_matrix(counts), 51, draw)
    np.testing.assert_array_equal(ours, np.ceil(draw * (right - left) + left))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=160))
def test_the_middle_bin_is_the_middle_of_the_spanned_ones(values):
    counts = np.array(values, dtype=np.float32)
    right, left = official_range(counts)
    ours = bin_counts(sparse.csr_matrix(counts), 51)
    lowest = np.minimum(right + 1, left)
    assert ((lowest <= ours) & (ours <= left)).all()
    np.testing.assert_allclose(ours, (lowest + left) / 2, atol=0.5)


@given(st.integers(2, 300))
def test_without_ties_the_bin_is_the_rank(n):
    counts = np.random.default_rng(n).permutation(n) * 7.0 + 3
    rank = (counts - 3) / 7
    exact = np.floor(49 * rank / (n - 1)) + 1
    on_an_edge = (49 * rank) % (n - 1) == 0  # where rounding of the edge decides
    ours = bin_counts(sparse.csr_matrix(counts), 51)
    np.testing.assert_array_equal(ours[~on_an_edge], exact[~on_an_edge])
    np.testing.assert_allclose(ours, exact, atol=1)


def test_rows_do_not_see_each_other_and_may_be_empty():
    rows = [[3, 1, 2], [], [5], [9, 9, 9, 1]]
    matrix = sparse.csr_matrix(np.array([row + [0] * (4 - len(row)) for row in rows], dtype=float))
    together = np.split(bin_counts(matrix, 51), matrix.indptr[1:-1])
    for row, ours in zip(rows, together, strict=True):
        if row:
            np.testing.assert_array_equal(ours, bin_counts(sparse.csr_matrix([row]), 51))


@pytest.mark.parametrize("place", ["ties_lo", "ties_hi", "ties_values"])
def test_ties_of_the_golden_cells(golden, place):
    """The official draws give the official digits; draws at the ends give the ends."""
    expected = np.load(golden / "scgpt" / "expected.npz")
    cells = anndata.read_h5ad(golden / "scgpt" / "input_ties.h5ad")
    known = sparse.csr_matrix(cells.X[:, [gene in vocabulary(golden) for gene in cells.var["gene_name"]]])
    known.sort_indices()
    tokens = ~np.isnan(expected["ties_rands"])
    draw = {"ties_lo": np.full(known.nnz, 1 - 1e-9), "ties_hi": np.zeros(known.nnz)}.get(
        place, expected["ties_rands"][tokens]
    )
    np.testing.assert_array_equal(bin_counts(known, 51, draw), expected[place][tokens])


def vocabulary(golden):
    return json.loads((golden / "scgpt" / "vocab.json").read_text())
