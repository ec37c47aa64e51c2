import numpy as np
import pandas as pd
import pytest

from biosae.steering.run import is_nested, label_beside

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
    assert label_beside(obs, ["batch", "stim", "chip", "tissue", "cell_type", "state"], "batch") == "cell_type"
    assert label_beside(obs, ["stim", "cell_type", "state"], "batch", "cell_type") == "state"
    assert label_beside(obs, ["batch", "stim", "chip", "tissue"], "batch") is None


def test_without_a_batch_any_label_will_do(obs):
    assert label_beside(obs, ["stim", "cell_type"], None) == "stim"
    assert label_beside(obs, ["stim", "cell_type"], None, "stim") == "cell_type"


def test_missing_values_say_nothing_about_nesting():
    one = np.array(["x", "y", None, None], dtype=object)
    other = np.array(["a", "b", "a", "b"], dtype=object)
    assert is_nested(one, other)
    assert not is_nested(np.array(["x", "y", "y", "x"], dtype=object), np.array(["a", "b", "a", "b"], dtype=object))
