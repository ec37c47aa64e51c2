from types import SimpleNamespace

import numpy as np
import pytest

from biosae.errors import ArtefactError
from biosae.steering.context import check_chain

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
        ({"sae_hash": "other"}, "made with another SAE; make it again with `biosae features`"),
        ({"layer": 0}, "the features are of layer 0, the SAE was trained on layer 1"),
        ({"sae": SimpleNamespace(d_in=8)}, "the SAE reads layer 1 of width 8, but curved has 2 layers of width 6"),
        ({"adapter": SimpleNamespace(name="curved", d_model=6, n_layers=1)}, "but curved has 1 layers of width 6"),
        ({"names": np.array(["x"] * 120)}, "holds 120 other samples than the 120 that were read"),
    ],
)
def test_what_does_not_is_refused(table, change, message):
    with pytest.raises(ArtefactError, match=message):
        check(table, **change)
