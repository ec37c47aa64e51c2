from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from biosae.errors import ArtefactError, DataError, SettingError
from biosae.pipeline.steer import check_chain
from biosae.steering.context import companion_label, is_nested

RUN = {"sae": {"hash": "abc"}, "model": {"layer": 1}}
SAE = SimpleNamespace(d_in=6)
ADAPTER = SimpleNamespace(name="curved", d_model=6, n_layers=2)


def check(table, run=RUN, sae=SAE, adapter=ADAPTER, names=None, **made):
    table.uns["biosae"] = {"sae_hash": "abc", "layer": 1} | made
    check_chain(run, table, table.obs_names if names is None else names, sae, adapter)


def test_what_belongs_together_passes(table):
    check(table)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sae_hash": "other"}, "made with another SAE; make it again with the features stage"),
        ({"layer": 0}, "the features are of layer 0, the SAE was trained on layer 1"),
        ({"sae": SimpleNamespace(d_in=8)}, "the SAE reads layer 1 of width 8, but curved has 2 layers of width 6"),
        ({"adapter": SimpleNamespace(name="curved", d_model=6, n_layers=1)}, "but curved has 1 layers of width 6"),
        ({"names": np.array(["x"] * 120)}, "holds 120 other samples than the 120 that were read"),
    ],
)
def test_what_does_not_is_refused(table, change, message):
    with pytest.raises(ArtefactError, match=message):
        check(table, **change)


BATCH = ["a", "a", "b", "b", "c", "c"]


@pytest.fixture
def obs():
    """Columns that are the batch in other words, and two that are not."""
    return pd.DataFrame(
        {
            "batch": BATCH,
            "stim": ["ctrl" if name == "a" else "treated" for name in BATCH],  # of each batch
            "chip": [f"{name}{i % 2}" for i, name in enumerate(BATCH)],  # of one batch each
            "tissue": "blood",
            "cell_type": ["B", "T", "B", "T", "B", None],
            "state": ["x", "x", "x", "y", "y", "y"],
        }
    )


def test_the_label_is_the_first_that_batches_could_share(obs):
    assert companion_label(obs, ["batch", "stim", "chip", "tissue", "cell_type", "state"], "batch") == "cell_type"
    assert companion_label(obs, ["stim", "cell_type", "state"], "batch", "cell_type") == "state"
    assert companion_label(obs, ["batch", "stim", "chip", "tissue"], "batch") is None


def test_without_a_batch_any_label_will_do(obs):
    assert companion_label(obs, ["stim", "cell_type"], None) == "stim"
    assert companion_label(obs, ["stim", "cell_type"], None, "stim") == "cell_type"


def test_missing_values_say_nothing_about_nesting():
    one = np.array(["x", "y", None, None], dtype=object)
    other = np.array(["a", "b", "a", "b"], dtype=object)
    assert is_nested(one, other)
    assert not is_nested(np.array(["x", "y", "y", "x"], dtype=object), np.array(["a", "b", "a", "b"], dtype=object))


def test_frequency_and_scale_are_of_the_choosing_samples(table, context_of):
    found = context_of(table).firing
    rows = table.obs["biosae_part"].isin(["train", "select"]).to_numpy()
    active = table.layers["fraction_active"][rows].toarray()  # equal numbers of tokens
    np.testing.assert_allclose(found.frequency, active.mean(axis=0), rtol=1e-6)
    # Active on half of the tokens with a mean of m over all, so 2 m where active.
    assert found.active_scale[0] == pytest.approx(2.0)
    assert found.active_scale[1] == pytest.approx(1.0)  # not the 5 of the test samples
    assert np.isnan(found.active_scale[2])
    assert 2 not in found.alive and len(found.alive) == 11


def test_samples_without_tokens_are_left_out(table, context_of):
    table.obs.loc["s3", "biosae_n_tokens"] = 0
    context = context_of(table)
    assert 3 not in context.rows("train")
    with pytest.raises(DataError, match="no sample of the parts elsewhere"):
        context.rows("elsewhere")


def test_means_are_over_tokens_of_choosing_samples(table, context_of):
    table.obs["biosae_n_tokens"] = np.arange(1, 121)
    found = context_of(table).group_means("batch", "target")
    chosen = table.obs["biosae_part"].isin(["train", "select"]).to_numpy()
    for n, name in enumerate(["a", "b"]):
        rows = chosen & (table.obs["batch"] == name).to_numpy()
        expected = np.average(table.obsm["X_model"][rows], axis=0, weights=table.obs["biosae_n_tokens"][rows])
        np.testing.assert_allclose(found.mean[n], expected, rtol=1e-5)
    assert found.group.tolist() == [0, 1] * 60


def test_directions_span_the_differences(table, context_of):
    found = context_of(table).group_means("batch", "target")
    (direction,) = found.directions().T
    difference = found.mean[1] - found.mean[0]
    assert abs(direction @ difference) == pytest.approx(np.linalg.norm(difference))
    np.testing.assert_allclose(found.mean + found.shift_to_common_mean(), [found.grand_mean] * 2)


def test_three_groups_differ_in_two_directions(table, context_of):
    table.obs["donor"] = np.tile(["x", "y", "z"], 40)
    basis = context_of(table).group_means("donor", "target").directions()
    assert basis.shape == (4, 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)


def test_a_batch_that_was_held_out_is_centred_by_its_own_mean_and_gives_no_direction(table, context_of):
    is_new = (table.obs["biosae_part"] == "test").to_numpy()
    table.obs["donor"] = np.where(is_new, "new", table.obs["batch"])
    found = context_of(table).group_means("donor", "target")
    assert found.is_known.tolist() == [True, True, False]
    assert found.directions().shape == (4, 1)
    expected = found.mean[:2].mean(axis=0) - table.obsm["X_model"][is_new].mean(axis=0)
    np.testing.assert_allclose(found.shift_to_common_mean()[2], expected, rtol=1e-5)
    # The means of batches that chose are not those of test samples.
    seen = context_of(table).group_means("batch", "target")
    assert np.isnan(seen.unseen_mean).all()


def test_errors_name_what_is_there(table, context_of):
    with pytest.raises(DataError, match="target: the features have no column donor; they have biosae_part") as caught:
        context_of(table).group_means("donor", "target")
    assert caught.value.argument == "steer.target"
    table.obs["one"] = "x"
    with pytest.raises(DataError, match="one has one value only among the train and select samples"):
        context_of(table).group_means("one", "target")


def test_the_difference_is_of_the_choosing_samples(table, context_of):
    found = context_of(table).difference("batch", "a", "b")
    assert found.codes[0] == pytest.approx(1.0)  # 0 in a, 1 in b
    assert found.codes[1] == pytest.approx(0.0)  # differs on test alone
    assert found.codes[2] == 0
    assert found.activation[0] == pytest.approx(3.0, abs=0.5)
    np.testing.assert_allclose(context_of(table).difference("batch", "b", "a").codes, -found.codes)


def test_a_value_that_does_not_exist_is_refused(table, context_of):
    with pytest.raises(SettingError, match=r"^treated must be a value of batch \(a, b\), got c") as caught:
        context_of(table).difference("batch", "a", "c")
    assert caught.value.argument == "steer.treated"
