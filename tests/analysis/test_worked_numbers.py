"""The examples of docs/scores, computed."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.genes.gene_scores import expression_scores, gene_scores, gene_table
from biosae.analysis.genes.token_sums import TokenSums
from biosae.analysis.stats.auroc import SortedCodes, auroc, midranks
from biosae.analysis.stats.intervals import score_interval
from biosae.analysis.stats.permutation_tests import benjamini_hochberg
from biosae.analysis.stats.thresholds import (
    adjusted_mutual_information,
    average_precision,
    best_thresholds,
    counts_above,
    f1,
)

PRINTED = {"abs": 0.0005}  # the pages give three digits


def test_labels():
    codes = SortedCodes.of(sparse.csr_matrix([[0.0], [0], [1], [2], [2], [3]]))
    member = np.array([[False], [True], [False], [False], [True], [True]])
    assert auroc(midranks(codes), member).item() == pytest.approx(0.667, **PRINTED)
    assert average_precision(codes, member).item() == pytest.approx(0.722, **PRINTED)
    thresholds = best_thresholds(codes, member)
    n_above, n_hits = counts_above(codes, member, thresholds)
    assert thresholds.item() == 2
    assert f1(n_above, n_hits, 3).item() == pytest.approx(0.667, **PRINTED)
    assert adjusted_mutual_information(n_hits, n_above, 3, 6).item() == pytest.approx(-0.111, **PRINTED)


def test_an_interval_of_few_members():
    low, high = score_interval(0.82, 3, 526)
    assert (low.item(), high.item()) == (pytest.approx(0.49, abs=0.005), pytest.approx(0.95, abs=0.005))


def test_q_values():
    assert benjamini_hochberg(np.array([0.01, 0.03, 0.04, 0.5])) == pytest.approx([0.04, 0.053, 0.053, 0.5], **PRINTED)


def sums(n_active, total, n_tokens, squares=0.0):
    matrix = sparse.csr_matrix([total])
    one, gene = np.zeros(1), np.zeros(len(n_tokens))
    matrices = (sparse.csr_matrix([n_active]), matrix, matrix, matrix)
    return TokenSums(*matrices, one + squares, one, one, one, n_tokens, gene, gene)


def test_genes():
    vocabulary = pd.DataFrame({"token": range(3), "identifier": list("abc"), "name": ["CD79A", "MS4A1", "LYZ"]})
    found = sums([4, 2, 1], [6.0, 3.0, 1.0], np.array([8, 4, 4]))
    table = gene_table(found, vocabulary)
    assert table.loc[0, ["share", "mean", "specificity"]].tolist() == pytest.approx([0.6, 1.5, 0.5])
    scores = gene_scores(found, table).loc[0]
    assert scores["top_genes"] == "CD79A;MS4A1;LYZ"
    assert scores["n_genes"] == 3
    assert scores["effective_genes"] == pytest.approx(2.17, abs=0.005)


def test_expression():
    found = sums([2, 1], [6.0, 1.0], np.array([2, 3]), squares=2.0**2 + 4.0**2 + 1.0**2)
    assert expression_scores(found).loc[0, "gene_identity_share"] == pytest.approx(0.683, **PRINTED)


def test_within_gene_correlation():
    one, total = np.ones(1), sparse.csr_matrix([[6.0, 1.0]])
    matrices = (sparse.csr_matrix([[2, 1]]), total, total, total)
    of_genes = {"value_total": np.array([22.0, 6.0]), "value_squares": np.array([244.0, 14.0])}
    value_code = 2 * 10 + 4 * 12 + 1 * 2
    found = TokenSums(*matrices, 21 * one, 24 * one, 248 * one, value_code * one, np.array([2, 3]), **of_genes)
    scores = expression_scores(found).loc[0]
    assert scores["within_gene_correlation"] == pytest.approx(0.612, **PRINTED)
    assert scores["context_share"] == pytest.approx(0.317, **PRINTED)
    assert scores["value_active_mean"] == 8  # 10, 12 and 2
    assert scores["value_inactive_mean"] == 2  # 1 and 3
