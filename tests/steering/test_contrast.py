import numpy as np
import pytest

from biosae.errors import DataError
from biosae.steering.contrast import contrast


def test_means_are_over_tokens_of_choosing_samples(table):
    table.obs["biosae_n_tokens"] = np.arange(1, 121)
    found = contrast(table, "batch", "steer.target")
    chosen = table.obs["biosae_part"].isin(["train", "select"]).to_numpy()
    for n, name in enumerate(["a", "b"]):
        rows = chosen & (table.obs["batch"] == name).to_numpy()
        expected = np.average(table.obsm["X_model"][rows], axis=0, weights=table.obs["biosae_n_tokens"][rows])
        np.testing.assert_allclose(found.mean[n], expected, rtol=1e-5)
    assert found.group.tolist() == [0, 1] * 60


def test_directions_span_the_differences(table):
    found = contrast(table, "batch", "steer.target")
    (direction,) = found.directions().T
    difference = found.mean[1] - found.mean[0]
    assert abs(direction @ difference) == pytest.approx(np.linalg.norm(difference))
    np.testing.assert_allclose(found.mean + found.shift_to_common_mean(), [found.grand_mean] * 2)


def test_three_groups_differ_in_two_directions(table):
    table.obs["donor"] = np.tile(["x", "y", "z"], 40)
    basis = contrast(table, "donor", "steer.target").directions()
    assert basis.shape == (4, 2)
    np.testing.assert_allclose(basis.T @ basis, np.eye(2), atol=1e-12)


def test_a_batch_that_was_held_out_is_centred_by_its_own_mean_and_gives_no_direction(table):
    is_new = (table.obs["biosae_part"] == "test").to_numpy()
    table.obs["donor"] = np.where(is_new, "new", table.obs["batch"])
    found = contrast(table, "donor", "steer.target")
    assert found.is_known.tolist() == [True, True, False]
    assert found.directions().shape == (4, 1)
    expected = found.mean[:2].mean(axis=0) - table.obsm["X_model"][is_new].mean(axis=0)
    np.testing.assert_allclose(found.shift_to_common_mean()[2], expected, rtol=1e-5)
    seen = contrast(table, "batch", "steer.target")  # the means of batches that chose are not those of test samples
    assert np.isnan(seen.unseen_mean).all()


def test_errors_name_what_is_there(table):
    with pytest.raises(
        DataError, match="steer.target: the features have no column donor; they have biosae_part, batch"
    ):
        contrast(table, "donor", "steer.target")
    table.obs["one"] = "x"
    with pytest.raises(DataError, match="one has one value only among the train and select samples"):
        contrast(table, "one", "steer.target")
