import numpy as np
import pytest
import torch

from biosae.steering.edits import FeatureEdit, unedited
from biosae.steering.off_target import mean_codes, off_target


def test_mean_codes_are_of_the_edited_activations(adapter, sae, sequences):
    edit = FeatureEdit(torch.tensor([5, 2]), "add", torch.tensor([0.5, 0.5]))
    samples = np.array([0, 2, 3])
    before, after = mean_codes(adapter, sae, sequences, samples, 0, {"same": unedited, "edit": edit}, 9)
    rows = np.concatenate([np.arange(*sequences.offsets[s : s + 2]) for s in samples])
    x = adapter.network["first"](torch.from_numpy(sequences.token[rows]).long())
    np.testing.assert_allclose(before, sae.encode(x).dense().mean(0).detach(), atol=1e-6)
    np.testing.assert_array_equal(after["same"], before)
    moved = x + 0.5 * sae.input_scale * (sae.W_dec[5] + sae.W_dec[2])
    np.testing.assert_allclose(after["edit"], sae.encode(moved).dense().mean(0).detach(), atol=1e-5)


def test_changes_are_summed_on_and_off_target():
    before = np.array([1.0, 0.0, 2.0, 0.5])
    after = {"s000": np.array([0.0, 0.0, 2.9, 0.6]), "s001": before}
    summary, listed = off_target(before, after, {"s000": np.array([0, 1]), "s001": np.array([], dtype=int)})
    first, second = summary.to_dict("records")
    assert first["on_target"] == pytest.approx(1.0) and first["off_target"] == pytest.approx(1.0)
    assert first["n_moved"] == 1  # feature 2 alone is 90 % of it
    assert (second["on_target"], second["off_target"], second["n_moved"]) == (0, 0, 0)
    assert listed["feature"].tolist() == [2, 3] and listed["change"].tolist() == pytest.approx([0.9, 0.1])
