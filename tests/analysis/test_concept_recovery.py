import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.concept_recovery import analyze_controls, comparable_labels, compare_axes
from biosae.errors import DataError
from biosae.features.pool import PooledAxes

from .conftest import D_SAE
from .planted_truth import simulate


@pytest.fixture(scope="module")
def comparison():
    simulation = simulate(seed=0)

    def pooled(values):
        out = np.zeros((len(simulation.obs), values.shape[1]))
        np.maximum.at(out, simulation.sample, values)
        return PooledAxes(sparse.csr_matrix(out), (values > 0).mean(axis=0))

    random = np.random.default_rng(0).normal(size=(32, 20))
    axes = {
        "sae": pooled(simulation.activity.toarray()),
        "random": pooled(np.maximum(0, simulation.values @ random)),
    }
    obs = simulation.obs
    part, donor = obs["biosae_part"].astype(str).to_numpy(), obs["donor"].astype(str)
    table, _ = compare_axes(axes, obs[["cell_type", "donor"]], part, donor, n_permutations=200, seed=0)
    return table.set_index(["axes", "label"])


def test_true_axes_recover_more_than_random_ones_and_shuffled_labels_none(comparison):
    assert comparison.loc[("sae", "cell_type"), "n_recovered"] == 5
    assert comparison.loc[("sae", "donor"), "n_recovered"] == 8
    assert comparison.loc[("sae, shuffled labels", "cell_type"), "n_recovered"] <= 1
    assert comparison.loc[("sae, shuffled labels", "donor"), "n_recovered"] <= 1
    assert comparison.loc[("sae", "cell_type"), "above_null"] > comparison.loc[("random", "cell_type"), "above_null"]


def test_axes_are_compared_at_equal_number(comparison):
    assert comparison.loc[("random", "donor"), "n_axes"] == 20
    assert comparison.loc[("sae, 20 at random", "donor"), "n_axes"] == 20


def test_chance_is_taken_off(comparison):
    row = comparison.loc[("sae", "cell_type")]
    assert row["expected_by_chance"] == 0.05 * row["n_concepts"]
    assert row["excess"] == row["n_recovered"] - row["expected_by_chance"]


def test_labels_that_cannot_be_scored_are_one_clear_line():
    obs = simulate(seed=0).obs
    constant = obs[["cell_type"]].assign(cell_type="one")
    with pytest.raises(DataError, match="none of the labels cell_type can be scored"):
        axes = {"sae": PooledAxes(sparse.csr_matrix((len(obs), 3)), np.zeros(3))}
        compare_axes(axes, constant, obs["biosae_part"].astype(str).to_numpy(), None, 10, 0)


def test_the_table_is_written(run, generator):
    noise = sparse.random(240, 6, 0.5, random_state=generator, format="csr")
    found = analyze_controls(
        run / "features.h5ad",
        {"noise": PooledAxes(noise, np.full(6, 0.1))},
        run,
        ["cell_type", "donor"],
        "donor",
        100,
        0,
    )
    read = pd.read_csv(run / "controls.csv")
    assert list(read.columns) == list(found.columns)
    by = read.set_index(["axes", "label"])
    assert by.loc[("sae", "cell_type"), "n_recovered"] == 3
    assert by.loc[("sae", "cell_type"), "n_axes"] == D_SAE
    assert by.loc[("noise", "cell_type"), "n_recovered"] <= 1
    assert by.loc[("noise", "cell_type"), "l0"] == pytest.approx(0.6)
    assert set(read["axes"]) == {"sae", "noise", "sae, 6 at random", "sae, shuffled labels"}


def test_a_label_that_no_shuffle_can_change_is_left_out(caplog):
    obs = simulate(seed=0).obs.assign(age=np.arange(600.0))
    obs["disease"] = obs["donor"].isin(["donor 0", "donor 1"]).map({True: "sick", False: "well"})
    assert list(comparable_labels(obs, ["disease", "cell_type", "donor", "age"], "donor")) == ["cell_type", "donor"]
    assert "controls leave disease out: each donor has one value of it only" in caplog.text
    assert list(comparable_labels(obs, ["disease"], None)) == ["disease"]
    with pytest.raises(DataError, match="classes that differ within donor .*, got disease, age"):
        comparable_labels(obs, ["disease", "age"], "donor")
