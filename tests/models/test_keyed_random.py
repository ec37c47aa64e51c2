"""Random numbers keyed by cell and gene."""

import numpy as np
import pandas as pd
from scipy import stats

from biosae.models.keyed_random import cell_keys, keyed_uniform


def test_numbers_are_uniform_and_independent_of_their_neighbours():
    cells = cell_keys(pd.Index([f"cell{n}" for n in range(200)]))
    cell, token = np.repeat(cells, 100), np.tile(np.arange(100), 200)
    draw = keyed_uniform(0, 0, cell, token)
    assert draw.min() >= 0 and draw.max() < 1
    assert stats.kstest(draw, "uniform").pvalue > 0.01
    grid = draw.reshape(200, 100)
    for a, b in ((grid[:, :-1], grid[:, 1:]), (grid[:-1], grid[1:])):
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.03  # 4 standard errors of 20,000 pairs


def test_every_key_counts_and_order_does_not():
    cells = cell_keys(pd.Index(["a", "b", "a"]))
    token = np.array([1, 1, 2])
    draw = keyed_uniform(3, 0, cells, token)
    assert len(set(draw)) == 3
    np.testing.assert_array_equal(draw[::-1], keyed_uniform(3, 0, cells[::-1], token[::-1]))
    assert not np.isin(draw, keyed_uniform(4, 0, cells, token)).any()
    assert not np.isin(draw, keyed_uniform(3, 1, cells, token)).any()


def test_keys_of_names_do_not_change_between_versions():
    """A change would give every stored run other tokens."""
    assert cell_keys(pd.Index(["AAACATACAACCAC-1"])).tolist() == [14535326059163626444]
    assert cell_keys(pd.Index([1, 2])).tolist() == cell_keys(pd.Index(["1", "2"])).tolist()
