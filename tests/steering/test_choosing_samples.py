import numpy as np
import pytest

from biosae.errors import DataError, SettingError
from biosae.steering.choosing_samples import activity, difference, group_means, rows_of


def test_frequency_and_scale_are_of_the_choosing_samples(table):
    found = activity(table)
    rows = table.obs["biosae_part"].isin(["train", "select"]).to_numpy()
    active = table.layers["fraction_active"][rows].toarray()  # equal numbers of tokens
    np.testing.assert_allclose(found.frequency, active.mean(axis=0), rtol=1e-6)
    # Active on half of the tokens with a mean of m over all, so 2 m where active.
    assert found.active_scale[0] == pytest.approx(2.0)
    assert found.active_scale[1] == pytest.approx(1.0)  # not the 5 of the test samples
    assert np.isnan(found.active_scale[2])
    assert 2 not in found.alive and len(found.alive) == 11


def test_samples_without_tokens_are_left_out(table):
    table.obs.loc["s3", "biosae_n_tokens"] = 0
    assert 3 not in rows_of(table, ("train",))
    with pytest.raises(DataError, match="no sample of the parts elsewhere"):
        rows_of(table, ("elsewhere",))


def test_means_are_over_tokens_of_choosing_samples(table):
    table.obs["biosae_n_tokens"] = np.arange(1, 121)
    found = group_means(table, "batch", "target")
    chosen = table.obs["biosae_part"].isin(["train", "select"]).to_numpy()
    for n, name in enumerate(["a", "b"]):
        rows = chosen & (table.obs["batch"] == name).to_numpy()
        expected = np.average(table.obsm["X_model"][rows], axis=0, weights=table.obs["biosae_n_tokens"][rows])
        np.testing.assert_allclose(found.mean[n], expected, rtol=1e-5)
    assert found.group.tolist() == [0, 1] * 60


def test_directions_span_the_differences(table):
    found = group_means(table, "batch", "target")
    (direction,) = found.directions().T
    difference = found.mean[1] - found.mean[0]
    assert abs(direction @ difference) == pytest.approx(np.linalg.norm(difference))
    np.testing.assert_allclose(found.mean + found.shift_to_common_mean(), [found.grand_mean] * 2)


def test_three_groups_differ_in_two_directions(table):
    table.obs["donor"] = np.tile(["x", "y", "z"], 40)
    basis = group_means(table, "donor", "target").directions()
    assert basis.shape == (4, 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)


def test_a_batch_that_was_held_out_is_centred_by_its_own_mean_and_gives_no_direction(table):
    is_new = (table.obs["biosae_part"] == "test").to_numpy()
    table.obs["donor"] = np.where(is_new, "new", table.obs["batch"])
    found = group_means(table, "donor", "target")
    assert found.is_known.tolist() == [True, True, False]
    assert found.directions().shape == (4, 1)
    expected = found.mean[:2].mean(axis=0) - table.obsm["X_model"][is_new].mean(axis=0)
    np.testing.assert_allclose(found.shift_to_common_mean()[2], expected, rtol=1e-5)
    seen = group_means(table, "batch", "target")  # the means of batches that chose are not those of test samples
    assert np.isnan(seen.unseen_mean).all()


def test_errors_name_what_is_there(table):
    with pytest.raises(DataError, match="target: the features have no column donor; they have biosae_part") as caught:
        group_means(table, "donor", "target")
    assert caught.value.argument == "steer.target"
    table.obs["one"] = "x"
    with pytest.raises(DataError, match="one has one value only among the train and select samples"):
        group_means(table, "one", "target")


def test_the_difference_is_of_the_choosing_samples(table):
    found = difference(table, "batch", "a", "b")
    assert found.codes[0] == pytest.approx(1.0)  # 0 in a, 1 in b
    assert found.codes[1] == pytest.approx(0.0)  # differs on test alone
    assert found.codes[2] == 0
    assert found.activation[0] == pytest.approx(3.0, abs=0.5)
    np.testing.assert_allclose(difference(table, "batch", "b", "a").codes, -found.codes)


def test_a_value_that_does_not_exist_is_refused(table):
    with pytest.raises(SettingError, match=r"^treated must be a value of batch \(a, b\), got c") as caught:
        difference(table, "batch", "a", "c")
    assert caught.value.argument == "steer.treated"
