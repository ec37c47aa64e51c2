"""The samples that labels are scored on."""

import numpy as np
import pandas as pd
import pytest

from biosae.analysis.score_features import MIN_OF_CLASS, drawn_samples


@pytest.fixture
def obs():
    """10,000 samples: every second one select, 150 of a rare class (75 of each part) and 20 of another."""
    cell_type = np.array(["common"] * 10_000, dtype=object)
    cell_type[:150], cell_type[150:170] = "rare", "rarest"
    part = np.where(np.arange(10_000) % 2 == 0, "select", "test")
    return pd.DataFrame({"biosae_part": part, "cell_type": cell_type, "age": np.arange(10_000.0), "biosae_n_tokens": 1})


def test_all_samples_of_a_small_part_are_taken(obs):
    obs.loc[:9, "biosae_n_tokens"] = 0
    np.testing.assert_array_equal(drawn_samples(obs, ["cell_type"], 5_000, 0), np.arange(10, 10_000))
    np.testing.assert_array_equal(drawn_samples(obs, ["cell_type"], None, 0), np.arange(10, 10_000))


def test_a_draw_keeps_the_rare_classes(obs):
    drawn = obs.iloc[drawn_samples(obs, ["cell_type", "age"], 500, 0)]
    counts = drawn.groupby("biosae_part")["cell_type"].value_counts().unstack()
    assert (counts["rare"] == 75).all() and (counts["rarest"] == 10).all()
    assert counts["common"].between(450, 500).all()


def test_a_class_gets_no_more_than_a_fair_number(obs):
    obs.loc[obs.index[:4_000], "cell_type"] = "half"
    drawn = obs.iloc[drawn_samples(obs, ["cell_type"], 300, 0)]
    counts = drawn.groupby("biosae_part")["cell_type"].value_counts().unstack()
    assert (counts.loc[:, ["half", "common"]] >= MIN_OF_CLASS).all(axis=None)
    assert len(drawn) < 2 * 300 + 2 * MIN_OF_CLASS


def test_the_same_seed_draws_the_same_samples(obs):
    first, second, other = (drawn_samples(obs, ["cell_type"], 300, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert (np.diff(first) > 0).all()
