"""The whole benchmark on a planted steered.h5ad."""

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.benchmark.benchmark_plan import BenchmarkPlan
from biosae.benchmark.integration import benchmark_integration
from biosae.benchmark.jackknife import random_halves
from biosae.benchmark.scores import Scores, metrics_of
from biosae.benchmark.tables import intervals_of, paired_difference, versus_table
from biosae.errors import ArtefactError, SettingError

from .conftest import setting

pytest.importorskip("scib_metrics")

PLAN = BenchmarkPlan("batch", "cell_type", ("test",), 1000, (), 1000, n_halves=4, kbet=False, n_neighbours=15, seed=0)


def test_tables_have_a_row_per_setting_and_per_arm(run_folder):
    long, summary = benchmark_integration(run_folder, PLAN, None)
    written = pd.read_csv(run_folder / "integration.csv")
    assert len(written) == len(long) == 5 * 14
    assert (written["n_samples"] == 240).all()
    assert list(summary["method"]) == ["original", "sae", "matched_features", "centring"]
    assert list(summary["n_seeds"]) == [1, 1, 2, 1]
    total = long[long["metric"] == "total"].set_index("key")
    means = summary.set_index("method")["total"]
    assert means["matched_features"] == pytest.approx(total.loc[["s001", "s002"], "estimate"].mean())
    # Planted: the SAE's features and centring mix the batches, features drawn at random do not.
    assert total.loc["s000", "difference_low"] > 0.1
    assert total.loc["s001", "difference_high"] < 0.1
    assert (total.loc["original", ["difference", "difference_low", "difference_high"]] == 0).all()
    assert (total["low"] <= total["estimate"]).all()
    assert (total["estimate"] <= total["high"]).all()


def test_the_features_are_set_against_every_other_arm(run_folder):
    long, summary = benchmark_integration(run_folder, PLAN, None)
    versus = pd.read_csv(run_folder / "integration_versus.csv")
    assert versus.groupby("versus").size().to_dict() == {"original": 5, "matched_features": 5, "centring": 5}
    assert versus.set_index("versus")["n_seeds"].to_dict() == {"original": 1, "matched_features": 2, "centring": 1}
    total = versus[versus["metric"] == "total"].set_index("versus")
    means = summary.set_index("method")["total"]
    for other in total.index:
        assert total.loc[other, "difference"] == pytest.approx(means["sae"] - means[other], abs=1e-6)
    of_original = long[(long["key"] == "s000") & (long["metric"] == "total")].iloc[0]
    assert total.loc["original", "low"] == pytest.approx(of_original["difference_low"], abs=1e-6)
    # Planted: better than features at random, hardly told apart from centring.
    assert total.loc["matched_features", "low"] > 0.1
    assert abs(total.loc["centring", "difference"]) < 0.1


def test_edits_stand_beside_arms_of_their_own_size_only():
    arms = pd.DataFrame([setting("a", "sae", 10), setting("b", "sae", 30), setting("c", "matched_features", 30, 0)])
    scores = Scores(metrics_of(False), *({key: np.zeros(shape) for key in "abc"} for shape in (14, (4, 14))), 0.5)
    versus = versus_table(scores, arms)
    assert set(zip(versus["n_features"], versus["versus"], strict=True)) == {(30, "matched_features")}


def test_the_interval_of_a_paired_difference_is_that_of_the_differences():
    generator = np.random.default_rng(0)
    samples = generator.normal(size=400)
    noise = 0.01 * generator.normal(size=400)
    halves = random_halves(np.zeros(400), 2000, generator)
    of = {"a": samples, "b": samples + noise}
    whole = {key: np.array([x.mean()]) for key, x in of.items()}
    over = {key: np.array([[x[half].mean()] for half in halves]) for key, x in of.items()}
    difference, low, high = paired_difference(Scores(("mean",), whole, over, 0.5), ["b"], ["a"])
    assert difference[0] == pytest.approx(noise.mean())
    # What both share falls out; 2,000 halves know a variance to 3 %.
    assert high[0] - difference[0] == pytest.approx(1.96 * noise.std(ddof=1) / 20, rel=0.06)


def test_the_interval_of_a_score_ends_where_scores_do_and_that_of_a_difference_does_not():
    halves = np.array([[0.9], [1.0], [0.95], [1.0]])
    scores = Scores(
        ("x",), {"a": np.array([0.98]), "original": np.array([0.1])}, {"a": halves, "original": 0 * halves}, 0.5
    )
    found = intervals_of(scores, ["a"])
    assert found["high"] == [1.0] and 0.8 < found["low"][0] < 0.98
    # the half jackknife, t with 3 degrees of freedom
    assert found["difference_high"][0] == pytest.approx(0.88 + 3.1824463 * halves.std(ddof=1))


def test_label_transfer_is_told_for_every_batch(run_folder):
    long, _ = benchmark_integration(run_folder, replace(PLAN, n_halves=0), None)
    transfer = pd.read_csv(run_folder / "integration_transfer.csv")
    assert transfer.groupby("key")["batch"].apply(list).tolist() == [["b0", "b1", "b2"]] * 5
    assert (transfer["n_samples"] == 80).all()
    for metric in ("transfer_accuracy", "transfer_macro_f1"):
        means = long[long["metric"] == metric].set_index("key")["estimate"]
        assert transfer.groupby("key")[metric].mean().to_dict() == pytest.approx(means.to_dict())


def test_provenance_names_source_and_what_was_scored(run_folder):
    benchmark_integration(run_folder, replace(PLAN, n_halves=0), None)
    described = json.loads((run_folder / "integration.json").read_text())
    assert described["n_per_batch"] == {"b0": 80, "b1": 80, "b2": 80}
    assert (described["reference"], described["labels_in_one_batch"]) == ("original", [])
    summary = pd.read_csv(run_folder / "integration_summary.csv")
    assert summary["total"].notna().all()
    assert summary["total_low"].isna().all()


def test_context_methods_stand_in_the_same_tables(run_folder, planted):
    pytest.importorskip("harmonypy")
    generator = np.random.default_rng(0)
    rate = np.exp(np.hstack([planted.embed(2.0, 6.0), generator.normal(size=(240, 40))]) / 2)
    rate = np.vstack([rate, np.ones((60, rate.shape[1]))])
    names = [f"cell{i}" for i in range(300)]
    counts = anndata.AnnData(sparse.csr_matrix(generator.poisson(5 * rate).astype(np.float32)))
    counts.obs_names = names
    shuffled = counts[::-1].copy()  # rows are matched by name
    plan = replace(PLAN, context=("pca", "harmony"), n_halves=0)
    _, summary = benchmark_integration(run_folder, plan, lambda: shuffled)
    scores = summary.set_index("method")
    assert scores.loc["pca", "pcr_comparison"] == pytest.approx(0, abs=1e-6)  # compared with itself
    assert scores.loc["harmony", "ilisi"] > scores.loc["pca", "ilisi"]
    assert scores.loc["pca", "leiden_ari"] > 0.3


def test_other_features_than_those_steered_are_refused(run_folder):
    table = anndata.read_h5ad(run_folder / "features.h5ad")
    table.X[0, 0] = 1
    table.write_h5ad(run_folder / "features.h5ad")
    with pytest.raises(ArtefactError, match="does not belong to features.h5ad .*again with the steer stage"):
        benchmark_integration(run_folder, PLAN, None)


def test_a_missing_file_names_its_stage(tmp_path):
    with pytest.raises(ArtefactError, match="steered.h5ad does not exist; make it with the steer stage"):
        benchmark_integration(tmp_path, PLAN, None)


@pytest.mark.parametrize(("change", "words"), [({"n_halves": 1}, "n_halves"), ({"n_neighbours": 0}, "n_neighbours")])
def test_settings_out_of_range_are_refused(run_folder, change, words):
    with pytest.raises(SettingError, match=f"^{words} must be") as caught:
        benchmark_integration(run_folder, replace(PLAN, **change), None)
    assert caught.value.argument == f"benchmark.{words}"
