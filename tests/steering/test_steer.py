"""Sweeps in a model where the right edit is known; most steer control samples toward treated ones."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.neighbors import KNeighborsClassifier

from biosae.errors import DataError
from biosae.models.tokens import TokenSequences
from biosae.pipeline.steer import steer_samples
from biosae.saes.variants.standard import Standard
from biosae.steering.plan import FeatureChoice, Recipe, SteeringPlan
from biosae.steering.steered_files import read_steered

D, N, LENGTH = 6, 240, 3
ABLATE = Recipe("ablate", (0.0,), "scale", "all", "keep")
BASELINES = ("matched_features", "difference_in_means")
SWEEP = SteeringPlan(FeatureChoice("list", features=(4,)), ABLATE, (1, 3), (0, 1), BASELINES, None, ("test",), 30, 0)
PLAN = SWEEP.toward("state", "ctrl", "stim", (0.5, 1.0, 2.0, 3.0, 4.0))


@pytest.fixture
def context(adapter, make_context):
    """Tokens 0-19 are of control cells; 20-39 are the same tokens moved along feature 4 of the SAE."""
    sae = Standard(D, 16, l1_coefficient=0.1)
    torch.manual_seed(1)
    plain = 0.3 * torch.randn(20, D)
    weight = torch.cat([plain, plain + 0.8 * sae.W_dec[4].detach()])
    adapter.network["first"].weight.data.copy_(weight)
    sae.fit_normaliser(weight)
    generator = np.random.default_rng(0)
    stim = np.tile([False, True], N // 2)
    token = (generator.integers(0, 20, (N, LENGTH)) + 20 * stim[:, None]).astype(np.int32).ravel()
    n_tokens = len(token)
    sequences = TokenSequences(
        token, np.ones(n_tokens, np.float32), np.zeros(n_tokens, bool), np.arange(0, n_tokens + 1, LENGTH)
    )
    x = weight[torch.from_numpy(token).long()]
    codes = sae.encode(x).dense().detach().numpy().reshape(N, LENGTH, -1)
    obs = pd.DataFrame(
        {
            "biosae_part": np.repeat(["train", "select", "test"], N // 3),
            "biosae_n_tokens": LENGTH,
            "state": np.where(stim, "stim", "ctrl"),
            "donor": np.tile(["p", "p", "q", "q"], N // 4),
        },
        index=[f"s{i}" for i in range(N)],
    )
    table = table_of(codes, obs, x.numpy().reshape(N, LENGTH, D))
    return make_context(sae, sequences, table, label_keys=("state",), batch_key="donor")


def table_of(codes, obs, x):
    import anndata

    layers = {"sum": codes.sum(1), "mean": codes.mean(1), "fraction_active": (codes > 0).mean(1)}
    layers = {name: sparse.csr_matrix(values.astype(np.float32)) for name, values in layers.items()}
    table = anndata.AnnData(sparse.csr_matrix(codes.max(1)), obs=obs, layers=layers)
    table.obsm["X_model"] = x.mean(1)
    table.uns["biosae"] = {"sae_hash": "a", "model": "curved", "layer": 0}
    return table


def test_the_planted_feature_closes_the_distance(context, tmp_path):
    table = steer_samples(context, PLAN)
    best = table[table["best_on_select"] & (table["part"] == "test") & (table["group_by"] == "all")]
    closed = best[best["metric"] == "distance_closed"]
    of = {method: rows["estimate"].to_numpy() for method, rows in closed.groupby("method")}
    assert of["difference_in_means"] > 0.85  # tanh bends the rest of the way
    assert of["sae"].max() > 0.8
    assert (of["matched_features"] < 0.3).all()
    energy = best[(best["metric"] == "energy_closed") & (best["method"] == "sae")]
    assert energy["estimate"].max() > 0.9
    steered, settings = read_steered(tmp_path / "perturbation.h5ad")
    assert settings.loc[settings["method"] == "sae", "features"].str[0].eq(4).all()


def test_every_donor_has_numbers_of_its_own(context, tmp_path):
    table = steer_samples(context, PLAN)
    by_donor = table[(table["group_by"] == "donor") & (table["part"] == "test")]
    assert set(by_donor["group"]) == {"p", "q"}
    assert (by_donor["n_control"] + by_donor["n_treated"] == N // 3 // 2).all()


def test_donors_that_are_held_out_decide_nothing_and_are_reported_one_by_one(context, tmp_path):
    obs = context.table.obs
    new = np.tile(["r", "r", "s", "s"], N // 4)
    obs["donor"] = np.select([obs["biosae_part"] == "train", obs["biosae_part"] == "select"], ["p", "q"], new)
    table = steer_samples(context, PLAN)
    assert set(table.loc[(table["group_by"] == "donor") & (table["part"] == "test"), "group"]) == {"r", "s"}
    settings = read_steered(tmp_path / "perturbation.h5ad")[1]
    unseen = (obs["biosae_part"] == "test").to_numpy()
    factor = np.where(unseen, 9, 1).astype(np.float32)
    context.table.layers["sum"] = context.table.layers["sum"].multiply(factor[:, None]).tocsr()
    context.table.obsm["X_model"][unseen] *= -1
    steer_samples(replace(context, folder=tmp_path / "other", cache=tmp_path / "other"), PLAN)
    again = read_steered(tmp_path / "other" / "perturbation.h5ad")[1]
    assert settings["features"].equals(again["features"]) and settings["amount"].equals(again["amount"])


def test_labels_are_voted_for_by_the_nearest_unedited_cells(context, tmp_path):
    x, state = context.table.obsm["X_model"][:, 0], context.table.obs["state"]
    context.table.obs["type"] = np.where(x > pd.Series(x).groupby(state.to_numpy()).transform("median"), "A", "B")
    table = steer_samples(replace(context, label_keys=("type",)), PLAN)
    rows = table[(table["part"] == "test") & (table["group_by"] == "all")].set_index(["key", "metric"])["estimate"]
    assert rows["original", "label_kept"] == 1
    steered, _ = read_steered(tmp_path / "perturbation.h5ad")
    test = (steered.obs["biosae_part"] == "test").to_numpy()
    embedding, label = steered.obsm["original"][test], steered.obs["type"].to_numpy()[test]
    control = (steered.obs["state"] == "ctrl").to_numpy()[test]
    voted = [
        KNeighborsClassifier(15).fit(np.delete(embedding, n, 0), np.delete(label, n)).predict(embedding[[n]])[0]
        for n in np.flatnonzero(control)
    ]
    assert rows["original", "label_accuracy"] == pytest.approx((np.array(voted) == label[control]).mean())
    assert rows.xs("label_kept", level="metric").drop("original").between(0, 1).all()


def test_the_strength_is_chosen_on_select(context, tmp_path):
    table = steer_samples(context, PLAN)
    overall = table[(table["metric"] == "distance_closed") & (table["group_by"] == "all") & (table["part"] == "select")]
    one = overall[(overall["method"] == "sae") & (overall["n_features"] == 3)]
    assert one.loc[one["estimate"].idxmax(), "best_on_select"] and one["best_on_select"].sum() == 1
    # What is drawn at random stands beside it at the same strength, once for each seed.
    beside = overall[
        (overall["method"] == "matched_features") & (overall["n_features"] == 3) & overall["best_on_select"]
    ]
    assert beside["value"].tolist() == [one.loc[one["best_on_select"], "value"].item()] * 2


def test_the_way_back_is_not_mistaken_for_the_way_there(context, tmp_path):
    there = steer_samples(context, PLAN)
    other_way = replace(PLAN, between=("stim", "ctrl"))
    back = steer_samples(context, other_way)
    fresh = steer_samples(replace(context, cache=tmp_path / "fresh"), other_way)
    pd.testing.assert_frame_equal(back, fresh)
    assert not there["estimate"].equals(back["estimate"])


def test_a_part_without_one_of_the_two_is_refused(context, tmp_path):
    context.table.obs.loc[(context.table.obs["biosae_part"] == "test").to_numpy(), "state"] = "ctrl"
    with pytest.raises(DataError, match="state=stim has 0 samples in the part test"):
        steer_samples(context, PLAN)


def test_a_sweep_ablates_the_planted_feature(context, tmp_path):
    table = steer_samples(context, replace(SWEEP, target="state"))
    gap = table[table["metric"] == "target_gap"].set_index("method")["estimate"]
    assert gap["difference_in_means"] < 0.2 < gap["sae"] < 0.8 < gap["matched_features"].min()
    steered, settings = read_steered(tmp_path / "steered.h5ad")
    assert settings.loc[settings["method"] == "sae", "features"].tolist() == [[4]]
    embedded = np.isfinite(steered.obsm["s000"]).all(1)
    assert set(steered.obs.loc[embedded, "biosae_part"]) == {"test"}
    off_target = pd.read_csv(tmp_path / "steering" / "off_target.csv")
    assert set(off_target["group_by"]) == {"all", "state", "donor"}
