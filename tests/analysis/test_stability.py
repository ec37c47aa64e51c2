import itertools

import anndata
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy import sparse

from biosae.analysis.stability import (
    analyze_stability,
    chance_cosine,
    column_correlation,
    match_features,
    stability_scores,
)
from biosae.artefacts import read_json, write_json
from biosae.errors import ArtefactError, DataError

from .conftest import D_SAE, SILENT, write_table


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_match_is_the_best_of_all_permutations(generator):
    a, b = unit(generator.normal(size=(5, 3))), unit(generator.normal(size=(5, 3)))
    match = match_features(a, b)
    best = max(sum(a[i] @ b[p[i]] for i in range(5)) for p in itertools.permutations(range(5)))
    np.testing.assert_allclose(match.cosine.sum(), best)
    assert sorted(match.partner) == list(range(5))


def test_a_smaller_run_leaves_features_without_partner(generator):
    a = unit(generator.normal(size=(6, 4)))
    match = match_features(a, a[[4, 1]])
    assert match.partner.tolist() == [-1, 1, -1, -1, 0, -1]
    assert np.isnan(match.cosine[[0, 2, 3, 5]]).all()


def test_correlation_equals_numpy(generator):
    a, b = (sparse.random(50, 4, 0.5, random_state=generator, format="csr") for _ in range(2))
    expected = [np.corrcoef(a.toarray()[:, j], b.toarray()[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(column_correlation(a, b), expected, atol=1e-12)


def test_features_that_come_back_are_told_from_those_that_do_not(generator):
    W_dec = unit(generator.normal(size=(30, 64)))
    codes = sparse.random(200, 30, 0.4, random_state=generator, format="csr")
    others = []
    for _ in range(5):
        order = generator.permutation(30)
        other = W_dec.copy()
        other[20:] = unit(generator.normal(size=(10, 64)))  # the last ten are different in every run
        noisy = unit(other + 0.02 * generator.normal(size=other.shape))
        others.append((noisy[order], codes[:, order]))
    scores = stability_scores(W_dec, codes, others)
    assert scores["stable"].tolist() == [True] * 20 + [False] * 10
    assert (scores.loc[:19, "comes_back"] == 1).all() and (scores.loc[:19, "correlation"] > 0.999).all()


def test_the_same_direction_with_other_activity_does_not_come_back(generator):
    W_dec = unit(generator.normal(size=(10, 64)))
    codes, other = (sparse.random(200, 10, 0.4, random_state=generator, format="csr") for _ in range(2))
    scores = stability_scores(W_dec, codes, [(W_dec, other)])
    assert (scores["cosine"] > 0.999).all() and not scores["stable"].any()


def test_chance_is_far_below_a_match(generator):
    W_dec = unit(generator.normal(size=(40, 64)))
    assert chance_cosine(W_dec, W_dec, seed=1) < 0.4 < np.mean(match_features(W_dec, W_dec).cosine)


def test_runs_that_cannot_be_compared_are_refused(generator):
    W_dec = unit(generator.normal(size=(4, 8)))
    with pytest.raises(DataError, match="width 8 and 6"):
        match_features(W_dec, unit(generator.normal(size=(4, 6))))
    with pytest.raises(DataError, match="at least one other run"):
        stability_scores(W_dec, sparse.csr_matrix((3, 4)), [])
    with pytest.raises(DataError, match="3 and 5 samples"):
        stability_scores(W_dec, sparse.csr_matrix((3, 4)), [(W_dec, sparse.csr_matrix((5, 4)))])


@pytest.fixture
def two_runs(tmp_path, tokens):
    """Two runs whose features are the same in another order, but for the first, which is another one."""
    generator = np.random.default_rng(5)
    W_dec = unit(generator.normal(size=(D_SAE, 32))).astype(np.float32)
    order = generator.permutation(D_SAE)
    other = W_dec.copy()
    other[0] = unit(generator.normal(size=(1, 32)))
    for name, rows, columns in (("a", W_dec, np.arange(D_SAE)), ("b", other[order], order)):
        (tmp_path / name).mkdir()
        save_file({"W_dec": np.ascontiguousarray(rows)}, tmp_path / name / "sae.safetensors")
        write_table(tmp_path / name / "features.h5ad", tokens | {"codes": tokens["codes"][:, columns]})
    header = pd.MultiIndex.from_tuples([("density", "kind")], names=["analysis", "metric"])
    pd.DataFrame("normal", index=range(D_SAE), columns=header).rename_axis("feature").to_csv(tmp_path / "a/scores.csv")
    write_json(tmp_path / "a" / "analysis.json", {"format": 1, "summary": {"density": {"normal": D_SAE}}})
    return tmp_path / "a", tmp_path / "b"


def test_stability_becomes_columns_of_the_scores(two_runs):
    folder, other = two_runs
    analyze_stability(folder, [other], seed=0)
    scores = pd.read_csv(folder / "scores.csv", header=[0, 1], index_col=0)
    stable = scores["stability", "stable"]
    changed = [0, 10, SILENT]  # another feature, and two whose codes say nothing as they never fire
    assert not stable[changed].any()
    assert stable.drop(changed).all()
    assert (scores["density", "kind"] == "normal").all()
    summary = read_json(folder / "analysis.json", "x")["summary"]
    assert summary["density"] == {"normal": D_SAE}
    assert summary["stability"]["n_stable"] == D_SAE - 3
    assert summary["stability"]["chance_cosine"] < 0.6 < summary["stability"]["cosine"]


def test_running_it_again_replaces_the_columns(two_runs):
    folder, other = two_runs
    first = analyze_stability(folder, [other], seed=0)
    again = analyze_stability(folder, [other], seed=0)
    assert list(first.columns) == list(again.columns)


def test_other_hosts_and_missing_scores_are_refused(two_runs, tokens):
    folder, other = two_runs
    table = anndata.read_h5ad(other / "features.h5ad")
    table.uns["biosae"]["layer"] = 3
    table.write_h5ad(other / "features.h5ad")
    with pytest.raises(DataError, match="different hosts cannot be matched: made-up layer 0, made-up layer 3"):
        analyze_stability(folder, [other], seed=0)
    (folder / "scores.csv").unlink()
    with pytest.raises(ArtefactError, match="make it with the analyze stage"):
        analyze_stability(folder, [other], seed=0)


def test_runs_without_common_held_out_samples_are_refused(two_runs):
    folder, other = two_runs
    table = anndata.read_h5ad(other / "features.h5ad")
    table.obs_names = [f"other{n}" for n in range(table.n_obs)]
    table.write_h5ad(other / "features.h5ad")
    with pytest.raises(DataError, match="share no two held-out samples"):
        analyze_stability(folder, [other], seed=0)
