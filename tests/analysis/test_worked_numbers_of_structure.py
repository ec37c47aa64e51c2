"""The examples of docs/scores for families, gene sets, donors, numbers, geometry, stability and density, computed."""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from biosae.analysis.density import density, density_histogram
from biosae.analysis.genes.enrichment import over_representation
from biosae.analysis.genes.gene_sets import gene_family_scores
from biosae.analysis.geometry import geometry_scores, subspace_energy
from biosae.analysis.labels.continuous import spearman
from biosae.analysis.labels.replicates import donor_correlations, signed_rank_p_values
from biosae.analysis.stability import stability_scores
from biosae.analysis.stats.auroc import SortedCodes, auroc, midranks
from biosae.analysis.stats.permutation_tests import benjamini_hochberg


def test_families():
    symbols = np.array(["RPL3", "MT-CO1", "CD19", "LYZ"])
    scores = gene_family_scores(sparse.csr_matrix([[3.0, 1.0, 0.0, 0.0]]), np.array([5, 5, 5, 5]), symbols, {}).loc[0]
    assert (scores["ribosomal"], scores["mitochondrial"]) == (0.75, 0.25)
    assert (scores["family"], scores["excess"]) == ("ribosomal", 0.5)


def test_enrichment():
    genes = np.arange(1000)
    tests = over_representation(
        sparse.csr_matrix((genes < 20).astype(int)[None]),
        sparse.csr_matrix(((genes >= 15) & (genes < 45)).astype(int)[None]),
    )
    assert tests.overlap.data.tolist() == [5]
    assert tests.p_value == pytest.approx([0.000195], abs=5e-7)
    assert benjamini_hochberg(tests.p_value, 12_000).tolist() == [1.0]


def test_enrichment_by_rank():
    mean_code, in_set = sparse.csr_matrix([[3.0], [2], [1], [0], [0]]), np.array([[1], [0], [1], [0], [0]], dtype=bool)
    assert auroc(midranks(SortedCodes.of(mean_code)), in_set).item() == pytest.approx(0.833, abs=5e-4)


def test_donors():
    assert signed_rank_p_values(np.array([[1.0], [-1.0], [2.0], [0.0]])).item() == 0.375


def test_numbers_over_donors():
    age, mean_code = np.repeat([20.0, 35, 50, 65], 5), np.repeat([1.0, 2, 4, 3], 5)
    donor = np.repeat(list("abcd"), 5)
    scores = donor_correlations(sparse.csr_matrix(mean_code[:, None]), age, donor, np.ones(1)).loc[0]
    assert scores["correlation"] == pytest.approx(0.8)
    assert scores["p_value"] == pytest.approx(0.167, abs=5e-4)


def test_numbers():
    codes = SortedCodes.of(sparse.csr_matrix([[0.0], [0], [1], [3]]))
    assert spearman(midranks(codes), np.array([20.0, 30, 40, 50])).item() == pytest.approx(0.949, abs=5e-4)


def test_geometry():
    W_dec = np.array([[1, 0, 0], [1, 0.1, 0], [1, 0.2, 0], [0, 1, 0]], dtype=float)
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    scores = geometry_scores(W_dec, None)
    assert scores.loc[0, "nearest"] == 1
    assert scores.loc[0, "nearest_cosine"] == pytest.approx(0.995, abs=5e-4)
    assert scores["cluster_size"].tolist() == [3, 3, 3, 1]
    assert subspace_energy(np.array([[0.6, 0.8, 0.0]]), np.eye(3)[:1]).item() == pytest.approx(0.36)


def test_stability():
    cosines, correlations = [0.9, 0.8, 0.95, 0.6, 0.9], [0.9, 0.9, 0.6, 0.9, 0.8]
    code = np.array([[2.0], [0.0], [1.0], [1.0]])  # deviations 1, -1, 0, 0
    apart = np.array([[0.0], [0.0], [1.0], [-1.0]])  # at a right angle to them
    others = []
    for cosine, correlation in zip(cosines, correlations, strict=True):
        W_dec = np.array([[cosine, np.sqrt(1 - cosine**2)]])
        mixed = 1 + correlation * (code - 1) + np.sqrt(1 - correlation**2) * apart
        others.append((W_dec, sparse.csr_matrix(mixed)))
    scores = stability_scores(np.array([[1.0, 0.0]]), sparse.csr_matrix(code), others).loc[0]
    assert scores["cosine"] == pytest.approx(np.mean(cosines))
    assert scores["correlation"] == pytest.approx(np.mean(correlations))
    assert scores["comes_back"] == 0.6 and not scores["stable"]


def test_density():
    n_active = np.array([3] * 9 + [1] * 3 + [0] * 28)  # tokens of 40 cells of 250
    layers = {"sum": n_active[:, None] * 1.5, "fraction_active": n_active[:, None] / 250}
    layers = {name: sparse.csr_matrix(values) for name, values in layers.items()}
    table = AnnData(sparse.csr_matrix(n_active[:, None] > 0, dtype=float), layers=layers)
    table.obs["biosae_n_tokens"] = 250
    scores = density([table[:40]])
    assert n_active.sum() == 30
    assert scores.loc[0, ["frequency_token", "frequency_sample", "mean_active"]].tolist() == [0.003, 0.3, 1.5]
    assert scores.loc[0, "kind"] == "normal"
    histogram = density_histogram(scores)
    assert histogram[histogram["n_by_token"] == 1][["low", "high"]].to_numpy() == pytest.approx(
        np.array([[0.00178, 0.00316]]), abs=5e-6
    )
