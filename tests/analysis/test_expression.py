import numpy as np
import pytest

from biosae.analysis.expression import expression_scores
from biosae.analysis.token_sums import sum_over_tokens
from biosae.features.token_codes import TokenCodes

from .conftest import N_GENES, SILENT, write_token_codes


def scores_of(folder, tokens):
    write_token_codes(folder / "token_codes", tokens)
    return expression_scores(sum_over_tokens(TokenCodes(folder / "token_codes"), np.arange(240)))


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
            expected = np.corrcoef(dense[:, feature], value)[0, 1]
            np.testing.assert_allclose(row["value_correlation"], expected, atol=1e-6)
    assert scores.loc[SILENT].isna().all()


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
