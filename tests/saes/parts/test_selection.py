from __future__ import annotations

import torch

from biosae.saes.parts.selection import above, batch_top_k, positive, top_k
from biosae.saes.preactivations import PreActivations


def given_pre(matrix: list[list[float]]) -> PreActivations:
    """Pre-activations that are the given matrix (identity weights)."""
    values = torch.tensor(matrix)
    zeros = torch.zeros(values.shape[1])
    return PreActivations(values, zeros, torch.eye(values.shape[1]), zeros)


def test_top_k_keeps_the_largest_of_each_row_and_rectifies():
    codes = top_k(given_pre([[3.0, 1.0, 2.0, -1.0], [-5.0, -4.0, 0.5, -1.0]]), 2)
    assert codes.dense().tolist() == [[3.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.5, 0.0]]
    assert codes.l0().tolist() == [2, 1]


def test_ties_never_keep_more_than_k():
    """Keeping all that reach the k-th largest value keeps more than k where values are equal."""
    codes = top_k(given_pre([[1.0] * 6, [2.0] * 6]), 3)
    assert codes.l0().tolist() == [3, 3]
    assert int(batch_top_k(given_pre([[1.0] * 6, [1.0] * 6]), 2).l0().sum()) == 4


def test_a_selected_zero_has_not_fired():
    """Where fewer than k are positive, top-k picks zeros, which must not count as fired."""
    for select in (top_k, batch_top_k):
        codes = select(given_pre([[0.0, 0.0, 0.0, -1.0]]), 3)
        assert codes.l0().tolist() == [0]
        assert codes.firing_counts().tolist() == [0, 0, 0, 0]


def test_batch_top_k_spends_its_budget_where_the_batch_is_strong():
    codes = batch_top_k(given_pre([[9.0, 8.0, 7.0], [1.0, 0.5, -1.0]]), 2)
    assert codes.dense().tolist() == [[9.0, 8.0, 7.0], [1.0, 0.0, 0.0]]


def test_batch_top_k_of_one_row_is_top_k():
    pre = given_pre(torch.randn(1, 20, generator=torch.Generator().manual_seed(0)).tolist())
    assert torch.equal(batch_top_k(pre, 5).dense(), top_k(pre, 5).dense())


def test_above_is_strict_and_takes_a_threshold_a_feature():
    pre = given_pre([[0.5, 0.5, -0.1], [1.0, 0.4, 0.2]])
    assert above(pre, torch.tensor(0.5)).dense().tolist() == [[0, 0, 0], [1, 0, 0]]
    per_feature = torch.tensor([0.0, 0.45, -1.0])
    assert torch.equal(above(pre, per_feature).dense(), torch.tensor([[0.5, 0.5, 0], [1, 0, 0.2]]))


def test_positive_is_relu():
    assert positive(given_pre([[-1.0, 2.0]])).dense().tolist() == [[0, 2]]
