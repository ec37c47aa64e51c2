import numpy as np
import pytest

from biosae.analysis.genes.gene_sets import GeneSets
from biosae.analysis.genes.prerank import prerank
from biosae.errors import DataError

pytest.importorskip("gseapy", reason="the extra enrich is not installed")


def running_sum(values, inside):
    """Enrichment score of Subramanian et al. 2005 with exponent 1, written out."""
    order = np.argsort(-values, kind="stable")
    hit, weight = inside[order], np.abs(values[order])
    steps = np.where(hit, weight / weight[hit].sum(), -1 / (~hit).sum())
    walk = np.cumsum(steps)
    return walk[np.abs(walk).argmax()]


def test_a_planted_set_leads_and_scores_equal_the_definition():
    generator = np.random.default_rng(0)
    symbols = np.array([f"G{i:03d}" for i in range(300)])
    values = generator.random(300)
    planted = generator.choice(300, 20, replace=False)
    values[planted] += 1
    other = generator.choice(300, 20, replace=False)
    sets = GeneSets(["planted", "other"], ["made"] * 2, [frozenset(symbols[planted]), frozenset(symbols[other])])
    result = prerank(values, symbols, sets, n_permutations=100, seed=0).set_index("set")
    assert result.index[0] == "planted" and result.loc["planted", "q_value"] < 0.05
    for name, genes in (("planted", planted), ("other", other)):
        expected = running_sum(values, np.isin(np.arange(300), genes))
        np.testing.assert_allclose(result.loc[name, "es"], expected, atol=1e-6)  # printed in single precision
    assert set(result["source"]) == {"made"}


def test_a_silent_feature_and_foreign_sets_are_refused():
    symbols = np.array([f"G{i}" for i in range(50)])
    sets = GeneSets(["far"], ["made"], [frozenset({"X", "Y"})])
    with pytest.raises(DataError, match="fires on no gene"):
        prerank(np.zeros(50), symbols, sets, n_permutations=10, seed=0)
    with pytest.raises(DataError, match="no gene set has 5 to 500"):
        prerank(np.arange(50.0), symbols, sets, n_permutations=10, seed=0)


def test_the_worked_number():
    assert running_sum(np.array([3.0, 2.0, 1.0]), np.array([True, False, True])) == 0.75
