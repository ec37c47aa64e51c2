import numpy as np
import pytest
from scipy import sparse, stats

from biosae.analysis.genes.enrichment import (
    GENES_PER_BIN,
    SetTests,
    enrichment,
    matched_lists,
    over_representation,
    selected_features,
    top_gene_lists,
)
from biosae.analysis.genes.gene_sets import GeneSets
from biosae.analysis.stats.permutation_tests import benjamini_hochberg


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def ones(generator, n_rows, n_genes, density):
    return sparse.csr_matrix((generator.random((n_rows, n_genes)) < density).astype(np.int64))


def test_p_values_equal_fishers_exact_test(generator):
    lists, members = ones(generator, 12, 80, 0.2), ones(generator, 9, 80, 0.3)
    tests = over_representation(lists, members)
    row = tests.list_of_pair
    for pair in range(len(row)):
        in_list = lists[row[pair]].toarray().ravel()
        in_set = members[tests.overlap.indices[pair]].toarray().ravel()
        table = [[np.sum(in_list & in_set), np.sum(in_list & ~in_set & 1)], [np.sum(~in_list & in_set), 0]]
        table[1][1] = 80 - np.sum(table)
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        np.testing.assert_allclose(tests.p_value[pair], expected, rtol=1e-9)  # both sum the same few terms
    assert tests.n_tests == 12 * 9


def test_q_values_count_pairs_without_overlap_as_tests(generator):
    p_value = generator.random(40) ** 3
    whole = np.concatenate([p_value, np.ones(60)])
    np.testing.assert_allclose(benjamini_hochberg(p_value, 100), stats.false_discovery_control(whole)[:40], rtol=1e-12)


def test_an_empty_list_is_no_test():
    lists = sparse.csr_matrix(np.array([[0, 0, 0], [1, 0, 0]]))
    members = sparse.csr_matrix(np.array([[1, 1, 0]]))
    tests = over_representation(lists, members)
    assert tests.n_tests == 1
    np.testing.assert_allclose(tests.p_value, [2 / 3])


def test_top_genes_are_the_largest_sums():
    total = sparse.csr_matrix(np.array([[3.0, 0, 1, 2], [0, 0, 0, 0], [0, 5, 0, 0]]))
    np.testing.assert_array_equal(top_gene_lists(total, 2).toarray(), [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]])


def test_matched_lists_keep_size_and_popularity(generator):
    popularity = generator.permutation(500)
    lists = ones(generator, 30, 500, 0.04)
    drawn = matched_lists(lists, popularity, generator)
    assert drawn.data.max() == 1
    for row in range(30):
        bins = [np.sort(popularity[m[row].indices] // GENES_PER_BIN) for m in (lists, drawn)]
        np.testing.assert_array_equal(*bins)
    assert (drawn != lists).nnz > 0


def planted(generator, spread=0.0, n_features=60, n_genes=1000):
    """Feature 0 fires mostly on a set; all others on genes drawn by popularity, as are the sets."""
    popularity = np.exp(generator.normal(0, spread, n_genes))
    symbols = np.array([f"G{i}" for i in range(n_genes)])
    draw = lambda n: generator.choice(n_genes, n, replace=False, p=popularity / popularity.sum())  # noqa: E731
    genes = [frozenset(symbols[draw(30)]) for _ in range(200)]
    sets = GeneSets([f"set{i}" for i in range(200)], ["made"] * 200, genes)
    total = sparse.lil_matrix((n_features, n_genes))
    for feature in range(1, n_features):
        total[feature, draw(20)] = 1 + generator.random(20)
    total[0, np.isin(symbols, list(genes[7])).nonzero()[0]] = 5.0
    n_tokens = np.rint(1000 * popularity).astype(int)
    return total.tocsr(), n_tokens, symbols, sets


def test_a_planted_set_is_found_and_nothing_else(generator):
    total, n_tokens, symbols, sets = planted(generator)
    found = enrichment(total, n_tokens, symbols, sets, seed=0)
    assert found.scores.loc[0, "set"] == "set7"
    assert found.scores.loc[0, "overlap"] == 20
    assert set(found.table["feature"]) == {0}
    assert found.n_tests == 60 * 200
    assert found.annotated_share == 1 / 60
    assert found.matched_share == 0


def test_the_background_is_what_the_model_emitted(generator):
    total, n_tokens, symbols, sets = planted(generator)
    silent = np.flatnonzero(np.asarray(total.sum(axis=0)).ravel() == 0)[:200]
    n_tokens[silent] = 0
    found = enrichment(total, n_tokens, symbols, sets, seed=0)
    assert found.n_background == 800
    row = found.table.iloc[0]
    in_background = np.isin(symbols[n_tokens > 0], list(sets.genes[7])).sum()
    assert row["set_size"] == in_background
    expected = stats.hypergeom.sf(row["overlap"] - 1, 800, in_background, 20)
    np.testing.assert_allclose(row["p_value"], expected, rtol=1e-12)


def test_matched_lists_show_what_popularity_alone_gives(generator):
    """Sets of the most popular genes: features that only follow popularity are called as often as matched lists."""
    total, n_tokens, symbols, _ = planted(generator, spread=1.0, n_features=200)
    popular = symbols[np.argsort(-n_tokens)]
    genes = [frozenset(popular[first : first + 60]) for first in range(0, 300, 30)]
    sets = GeneSets([f"popular{i}" for i in range(len(genes))], ["made"] * len(genes), genes)
    found = enrichment(total[1:], n_tokens, symbols, sets, seed=0)
    assert found.annotated_share > 0.1
    assert abs(found.annotated_share - found.matched_share) < 0.1


def test_features_and_sets_without_genes_give_empty_scores():
    sets = GeneSets(["far"], ["made"], [frozenset({"X", "Y"})])
    total = sparse.csr_matrix(np.array([[1.0, 2.0], [0.0, 0.0]]))
    found = enrichment(total, np.array([3, 4]), np.array(["A", "B"]), sets, seed=0)
    assert found.n_sets == 0 and len(found.table) == 0 and found.annotated_share == found.matched_share == 0
    assert found.scores["set"].isna().all()
    assert found.scores.loc[0, "n_sets"] == 0
    assert found.scores["n_sets"].isna().tolist() == [False, True]


def made_up(p_values, n_sets):
    """Tests of lists with these p-values for their first sets; the other sets share no gene with the list."""
    counts = [len(own) for own in p_values]
    columns = np.concatenate([np.arange(n) for n in counts]).astype(int)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    shape = (len(p_values), n_sets)
    overlap = sparse.csr_matrix((np.ones(offsets[-1], dtype=int), columns, offsets), shape=shape)
    p_value = np.concatenate(p_values)
    return SetTests(overlap, p_value, benjamini_hochberg(p_value, len(p_values) * n_sets), len(p_values) * n_sets)


def test_simes_and_the_sets_within_selected_features():
    tests = made_up([[0.5, 0.001, 0.004], [0.2], [], [0.0001]], n_sets=10)
    # Sorted: 0.001 * 10, 0.004 * 10 / 2, 0.5 * 10 / 3; 0.2 * 10; nothing; 0.0001 * 10.
    np.testing.assert_allclose(tests.simes(), [0.01, 1, 1, 0.001])
    selected = selected_features(tests, np.array([True, True, True, True]))
    np.testing.assert_allclose(selected["q_simes"], [0.02, 1, 1, 0.004])
    # Two of four features are selected, so that sets hold at 0.025: 0.001 <= 0.0025 and 0.004 <= 0.005.
    assert selected["n_sets_selected"].tolist() == [2, 0, 0, 1]


def test_simes_leaves_silent_features_out():
    selected = selected_features(made_up([[], [0.004]], n_sets=10), np.array([False, True]))
    assert selected.loc[0].isna().all()
    assert selected.loc[1, "q_simes"] == pytest.approx(0.04)


def test_few_random_lists_pass_simes(generator):
    """Lists and sets drawn at random: hardly any feature is selected at 5 %."""
    n_selected = 0
    for _ in range(20):
        lists = sparse.csr_matrix(generator.random((100, 400)) < 0.05, dtype=int)
        members = sparse.csr_matrix(generator.random((60, 400)) < 0.05, dtype=int)
        selected = selected_features(over_representation(lists, members), np.full(100, True))
        n_selected += (selected["q_simes"] < 0.05).any()
    assert n_selected <= 4  # 5 % of 20 with room: P(more than 4) is 0.3 % for a binomial of 20 and 0.05


def test_the_false_discovery_rate_is_held_with_planted_sets():
    generator, shares, n_found = np.random.default_rng(0), [], []
    for _ in range(60):
        members = ones(generator, 100, 2000, 0.02)
        genes = [generator.choice(2000, 20, replace=False) for _ in range(60)]
        for feature in range(15):  # a third of the list is of the set with the feature's number
            genes[feature][:7] = generator.choice(members[feature].indices, 7, replace=False)
        lists = sparse.csr_matrix(np.array([np.bincount(chosen, minlength=2000) > 0 for chosen in genes]).astype(int))
        tests = over_representation(lists, members)
        found = tests.q_value < 0.05
        is_true = (tests.list_of_pair == tests.overlap.indices)[found] & (tests.list_of_pair[found] < 15)
        shares.append(1 - is_true.mean())
        n_found.append(is_true.sum())
    # Overlaps are whole numbers, so that fewer are false than might be; three standard errors are allowed.
    assert 0 < np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(60)
    assert np.mean(n_found) > 14
