import numpy as np
import pytest

from biosae.errors import DataError
from biosae.steering.activity import activity, rows_of


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
