"""Rank-value encoding against a plain reading of its definition."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from biosae.models.rank_value import rank_value_encode


def by_definition(counts, total, token_of_column, median, max_genes):
    """Each cell on its own: sum by token, divide by the median, sort, ties by token."""
    sequences = []
    for row, n in zip(counts, total, strict=True):
        summed = {}
        for count, token in zip(row, token_of_column, strict=True):
            if token >= 0 and count > 0:
                summed[token] = summed.get(token, 0) + count
        ranked = sorted(summed, key=lambda token: (-summed[token] / median[token], token))[:max_genes]
        sequences.append([(token, summed[token] / n * 10_000) for token in ranked])
    return sequences


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_cells_are_encoded_by_the_definition(seed, max_genes):
    generator = np.random.default_rng(seed)
    counts = generator.poisson(0.7, size=(6, 10)).astype(np.float32)
    total = counts.sum(1) + generator.integers(1, 5, 6)
    token_of_column = generator.integers(-1, 8, 10)
    median = generator.choice([0.5, 1.0, 2.0], 8)
    sequences = rank_value_encode(sparse.csr_matrix(counts), total, token_of_column, median, max_genes)
    for cell, expected in enumerate(by_definition(counts, total, token_of_column, median, max_genes)):
        span = slice(*sequences.offsets[cell : cell + 2])
        assert sequences.token[span].tolist() == [token for token, _ in expected]
        np.testing.assert_allclose(sequences.value[span], [value for _, value in expected], rtol=1e-6)


def test_specials_stand_around_and_take_no_room_from_the_genes():
    counts = sparse.csr_matrix(np.array([[1.0, 2, 3], [0, 0, 0]]))
    sequences = rank_value_encode(counts, np.array([6.0, 0]), np.array([4, 5, 6]), np.ones(7), 2, (2,), (3,))
    assert sequences.token.tolist() == [2, 6, 5, 3]
    assert sequences.special.tolist() == [True, False, False, True]
    assert sequences.lengths.tolist() == [4, 0]
