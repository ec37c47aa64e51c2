"""Gene sets by rank: what is planted is found, and popularity alone is not."""

import numpy as np
import pytest
from scipy import sparse, stats

from biosae.analysis.genes.gene_sets import GeneSets
from biosae.analysis.genes.rank_enrichment import rank_enrichment

N_GENES = 600
SYMBOLS = np.array([f"G{n}" for n in range(N_GENES)])


def sets_of(*members):
    return GeneSets(
        [f"set{n}" for n in range(len(members))], ["mine"] * len(members), [frozenset(SYMBOLS[m]) for m in members]
    )


def noise(generator, n_features=70, density=0.3):
    return sparse.random(n_features, N_GENES, density, random_state=generator, format="lil")


def random_sets(generator, n=12, size=25):
    return sets_of(*(generator.choice(N_GENES, size, replace=False) for _ in range(n)))


def test_a_planted_set_is_found_and_nothing_else(generator):
    total, sets = noise(generator), random_sets(generator)
    planted = np.isin(SYMBOLS, list(sets.genes[3]))
    total[5, np.flatnonzero(planted)] = 2.0
    found = rank_enrichment(total.tocsr(), np.full(N_GENES, 10), SYMBOLS, sets, 400, 0)
    assert list(zip(found.table["feature"], found.table["set"], strict=True)) == [(5, "set3")]
    assert found.n_tests == 70 * 12
    assert (found.annotated_share, found.matched_share) == (1 / 70, 0)
    assert found.scores.loc[5, "set"] == "set3" and found.scores.loc[5, "n_sets"] == 1
    expected = stats.mannwhitneyu(*(total[5].toarray().ravel()[chosen] for chosen in (planted, ~planted))).statistic
    assert found.scores.loc[5, "auroc"] == pytest.approx(expected / (25 * (N_GENES - 25)))
    q_value = stats.false_discovery_control(np.concatenate([found.table["p_value"], np.ones(70 * 12 - 1)]))
    assert found.scores.loc[5, "q_value"] <= q_value[0] + 1e-12


def test_mean_codes_count_not_sums(generator):
    """A gene of ten times the tokens with ten times the summed code is no higher."""
    total, sets, n_tokens = noise(generator).tocsr(), random_sets(generator), np.full(N_GENES, 10)
    few = rank_enrichment(total, n_tokens, SYMBOLS, sets, 50, 0)
    times = np.where(np.isin(SYMBOLS, list(sets.genes[0])), 10, 1)
    many = rank_enrichment(sparse.csr_matrix(total.multiply(times)), n_tokens * times, SYMBOLS, sets, 50, 0)
    kept = few.scores["set"] == many.scores["set"]
    np.testing.assert_allclose(few.scores["auroc"][kept], many.scores["auroc"][kept], atol=1e-12)


def test_a_set_of_popular_genes_is_no_finding_for_features_of_popular_genes(generator):
    popularity = np.exp(generator.normal(0, 1.5, N_GENES))
    n_tokens = 10 + np.rint(1000 * popularity).astype(int)
    chance = popularity / popularity.sum()
    total = np.zeros((70, N_GENES))
    for row in total:  # fires on popular genes, whatever they are
        row[generator.choice(N_GENES, 80, replace=False, p=chance)] = generator.random(80) + 0.5
    sets = sets_of(*(generator.choice(N_GENES, 30, replace=False, p=chance) for _ in range(12)))
    found = rank_enrichment(sparse.csr_matrix(total * n_tokens), n_tokens, SYMBOLS, sets, 200, 0)
    of_genes = [np.isin(SYMBOLS, list(genes)) for genes in sets.genes]
    plain = [stats.mannwhitneyu(row[s], row[~s], alternative="greater").pvalue for row in total for s in of_genes]
    assert (stats.false_discovery_control(plain) < 0.05).mean() > 0.2  # all genes alike: popularity looks like a set
    assert len(found.table) <= 1


def test_p_values_are_uniform_when_sets_mean_nothing(generator):
    p_value = []
    for seed in range(30):
        found = rank_enrichment(
            noise(generator).tocsr(), np.full(N_GENES, 10), SYMBOLS, random_sets(generator, 1), 99, seed
        )
        p_value.append(found.scores["p_value"].to_numpy()[:8])
    assert stats.kstest(np.concatenate(p_value), "uniform").pvalue > 1e-3  # fixed seed


def test_a_silent_feature_and_sets_of_few_genes_are_no_tests(generator):
    total, sets = noise(generator), sets_of(np.arange(30), np.arange(4))
    total[7] = 0
    found = rank_enrichment(total.tocsr(), np.full(N_GENES, 10), SYMBOLS, sets, 20, 0)
    assert found.n_sets == 1 and found.n_tests == 69
    assert found.scores.loc[7].isna().all()
    nothing = rank_enrichment(total.tocsr(), np.full(N_GENES, 10), SYMBOLS, sets_of(np.arange(4)), 20, 0)
    assert nothing.n_sets == nothing.n_tests == 0
