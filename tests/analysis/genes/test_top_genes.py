import numpy as np
import pytest

from biosae.analysis.genes.token_sums import sum_over_tokens
from biosae.analysis.genes.top_genes import GENES_PER_FEATURE, gene_scores, gene_table
from biosae.features.token_codes import TokenCodes

from ..conftest import D_SAE, SILENT, write_token_codes
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
