from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from biosae.errors import ArtefactError
from biosae.steering.context import check_chain, companion_label, is_nested

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
