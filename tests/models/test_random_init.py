"""A random host is random: no weight matrix of it has anything left of the trained one."""

import numpy as np
import pytest

from biosae.models.geneformer import load_geneformer

MINI = "builtin:geneformer-mini"


def matrices(adapter):
    return {name: w.flatten().double().numpy() for name, w in adapter.network.state_dict().items() if w.ndim > 1}


@pytest.fixture(scope="module")
def trained():
    return matrices(load_geneformer(MINI))


@pytest.mark.parametrize("kind", ["blocks", "all"])
def test_every_redrawn_matrix_is_unrelated_to_the_trained_one(trained, kind):
    drawn = matrices(load_geneformer(MINI, random_init=kind))
    assert drawn.keys() == trained.keys()
    kept = {name for name in drawn if np.array_equal(drawn[name], trained[name])}
    assert kept == ({name for name in drawn if "embedding" in name} if kind == "blocks" else set())
    for name in drawn.keys() - kept:
        n = len(drawn[name])
        # The correlation of n unrelated pairs has a standard deviation of 1 / sqrt(n).
        assert abs(np.corrcoef(drawn[name], trained[name])[0, 1]) < 5 / np.sqrt(n), name
