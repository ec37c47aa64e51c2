import numpy as np
import pytest
from scipy import sparse

from biosae.analysis.genes.gene_scores import (
    GENES_PER_FEATURE,
    expression_scores,
    gene_scores,
    gene_table,
    value_quartiles,
)
from biosae.analysis.genes.token_sums import sum_over_tokens
from biosae.features.token_codes import TokenCodes

from ..conftest import D_SAE, N_GENES, SILENT, write_token_codes
from .test_token_sums import in_long_form


@pytest.fixture
def sums_and_vocabulary(tmp_path, tokens):
    write_token_codes(tmp_path / "token_codes", tokens)
    codes = TokenCodes(tmp_path / "token_codes")
    return sum_over_tokens(codes, np.arange(240)), codes.vocabulary


def test_a_feature_of_one_gene(sums_and_vocabulary, tokens):
    table = gene_table(*sums_and_vocabulary)
    (row,) = table[table["feature"] == 4].to_dict("records")
    n = int((tokens["token"] == 9).sum())
    assert row == {
        **{"feature": 4, "gene": "GENE9", "identifier": "ENSG9", "n_tokens": n, "n_samples": n},
        **{"mean": 3.0, "max": 3.0, "share": 1.0, "specificity": 1.0},
    }
    scores = gene_scores(sums_and_vocabulary[0], table).loc[4]
    assert dict(scores) == {"top_genes": "GENE9", "n_genes": 1, "effective_genes": 1.0, "top_share": 1.0}


def test_the_leading_genes_of_every_feature(sums_and_vocabulary, tokens):
    table = gene_table(*sums_and_vocabulary)
    long = in_long_form(tokens)
    n_of_gene = np.bincount(tokens["token"])
    for feature, own in long.groupby("feature"):
        found = table[table["feature"] == feature].set_index("gene")
        assert found["share"].is_monotonic_decreasing
        assert len(found) == min(own["token"].nunique(), GENES_PER_FEATURE)
        for token, entries in own.groupby("token"):
            row = found.loc[f"GENE{token}"]
            assert row["n_tokens"] == len(entries)
            # float32 codes, summed in double precision
            np.testing.assert_allclose(row["mean"], entries["code"].mean(), rtol=1e-6)
            np.testing.assert_allclose(row["share"], entries["code"].sum() / own["code"].sum(), rtol=1e-6)
            np.testing.assert_allclose(row["specificity"], len(entries) / n_of_gene[token], rtol=1e-12)
    assert SILENT not in set(table["feature"])


def test_effective_genes_is_the_participation_ratio(sums_and_vocabulary, tokens):
    sums, vocabulary = sums_and_vocabulary
    scores = gene_scores(sums, gene_table(sums, vocabulary))
    shares = in_long_form(tokens).groupby(["feature", "token"])["code"].sum()
    shares = shares / shares.groupby("feature").transform("sum")
    expected = 1 / (shares**2).groupby("feature").sum()
    np.testing.assert_allclose(scores["effective_genes"].dropna(), expected, rtol=1e-6)
    np.testing.assert_array_equal(scores.index, np.arange(D_SAE))
    assert scores.loc[SILENT].isna().all()
    assert scores.loc[0, "top_genes"].count(";") == 9


def scores_of(folder, tokens, samples=np.arange(240)):  # noqa: B008, never written to
    write_token_codes(folder / "token_codes", tokens)
    codes = TokenCodes(folder / "token_codes")
    return expression_scores(sum_over_tokens(codes, samples)).join(value_quartiles(codes, samples))


def test_values_where_active_and_inactive_and_their_correlation(tmp_path, tokens):
    scores = scores_of(tmp_path, tokens)
    dense, value = tokens["codes"].toarray(), tokens["value"]
    for feature in range(SILENT):
        active = dense[:, feature] > 0
        if active.any():
            row = scores.loc[feature]
            # float32 inputs, summed in double precision
            np.testing.assert_allclose(row["value_active_mean"], value[active].mean(), rtol=1e-5)
            np.testing.assert_allclose(row["value_inactive_mean"], value[~active].mean(), rtol=1e-5)
            np.testing.assert_allclose(row["value_active_std"], value[active].std(), rtol=1e-4)
            np.testing.assert_allclose(row["value_inactive_std"], value[~active].std(), rtol=1e-4)
            quartiles = [row[f"value_active_q{share}"] for share in (25, 50, 75)]
            np.testing.assert_allclose(quartiles, np.quantile(value[active], [0.25, 0.5, 0.75]), rtol=1e-6)
            expected = np.corrcoef(dense[:, feature], value)[0, 1]
            np.testing.assert_allclose(row["value_correlation"], expected, atol=1e-6)
    assert scores.loc[SILENT].isna().all()


def test_quartiles_are_of_the_chosen_samples(tmp_path, tokens):
    chosen = np.arange(0, 240, 2)
    active = (tokens["codes"][:, [2]].toarray().ravel() > 0) & np.isin(tokens["sample"], chosen)
    found = scores_of(tmp_path, tokens, chosen).loc[2, "value_active_q50"]
    assert found == pytest.approx(np.median(tokens["value"][active]))


def test_within_gene_correlation_is_that_of_residuals(tmp_path, tokens):
    scores = scores_of(tmp_path, tokens)
    one_hot = np.eye(N_GENES)[tokens["token"]]
    residual = lambda y: y - one_hot @ np.linalg.lstsq(one_hot, y, rcond=None)[0]  # noqa: E731
    value = residual(tokens["value"].astype(float))
    for feature in (0, 2, 7):
        code = residual(tokens["codes"][:, [feature]].toarray().ravel().astype(float))
        expected = np.corrcoef(code, value)[0, 1]
        np.testing.assert_allclose(scores.loc[feature, "within_gene_correlation"], expected, atol=1e-9)


def test_a_code_that_follows_the_level_of_its_gene_is_told_from_one_that_follows_the_gene(tmp_path, tokens):
    """Gene means of the value differ by far more than the value within a gene."""
    level = np.random.default_rng(0).gamma(2.0, 1.0, len(tokens["token"]))
    value = (100 * tokens["token"] + level).astype(np.float32)
    codes = np.zeros((len(value), 12), dtype=np.float32)
    codes[:, 0] = level  # the level within the gene
    codes[:, 1] = 1 + tokens["token"]  # the gene, whatever its level
    scores = scores_of(tmp_path, tokens | {"value": value, "codes": sparse.csr_matrix(codes)})
    assert scores.loc[0, "within_gene_correlation"] == pytest.approx(1, abs=1e-4)  # float32 values near 3,000
    assert abs(scores.loc[0, "value_correlation"]) < 0.1
    assert scores.loc[1, "value_correlation"] > 0.99
    assert np.isnan(scores.loc[1, "within_gene_correlation"])
    assert scores.loc[1, "context_share"] == pytest.approx(0, abs=1e-9)


def test_gene_identity_share_is_the_adjusted_r_squared_of_gene_means(tmp_path, tokens):
    scores = scores_of(tmp_path, tokens)
    one_hot = np.eye(N_GENES)[tokens["token"]]
    n = len(one_hot)
    for feature in (0, 2, 7):
        code = tokens["codes"][:, [feature]].toarray().ravel().astype(float)
        fitted = one_hot @ np.linalg.lstsq(one_hot, code, rcond=None)[0]
        residual = ((code - fitted) ** 2).sum() / ((code - code.mean()) ** 2).sum()
        expected = 1 - residual * (n - 1) / (n - N_GENES)
        np.testing.assert_allclose(scores.loc[feature, "gene_identity_share"], expected, atol=1e-9)
        np.testing.assert_allclose(scores.loc[feature, "context_share"], 1 - expected, atol=1e-9)


def test_a_feature_of_one_gene_knows_nothing_else(tmp_path, tokens):
    assert scores_of(tmp_path, tokens).loc[4, "gene_identity_share"] == pytest.approx(1.0)


def test_a_code_that_ignores_the_gene_has_share_zero_on_average(tmp_path, tokens):
    generator = np.random.default_rng(0)
    found = []
    for repeat in range(20):
        shuffled = tokens | {"token": generator.permutation(tokens["token"])}
        found.append(scores_of(tmp_path / str(repeat), shuffled)["gene_identity_share"].drop(SILENT).dropna())
    # Twenty shuffles of ten features; the standard error is that of their mean.
    found = np.concatenate(found)
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))
