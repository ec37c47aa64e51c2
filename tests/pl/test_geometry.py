import numpy as np
import pandas as pd
import pytest

from biosae.errors import SettingError
from biosae.pl.geometry import decoder_map

SCORES = pd.DataFrame(
    {
        ("geometry", "map_x"): [0.0, 1.0, 2.0],
        ("geometry", "map_y"): [3.0, 4.0, 5.0],
        ("geometry", "nearest_cosine"): [0.5, np.nan, 0.9],
        ("genes", "top_genes"): ["A", "B", "C"],
    }
)


def test_features_with_a_value_are_points_in_its_colour(tmp_path):
    ax = decoder_map(SCORES, show=False, save=tmp_path / "map.svg")
    (points,) = ax.collections
    assert points.get_offsets().tolist() == [[0, 3], [2, 5]]
    assert points.get_array().tolist() == [0.5, 0.9]
    assert "<svg" in (tmp_path / "map.svg").read_text()


def test_what_cannot_be_drawn_is_named():
    with pytest.raises(SettingError, match="map_decoder=true"):
        decoder_map(SCORES.drop(columns=[("geometry", "map_x")]), show=False)
    with pytest.raises(SettingError, match="column of numbers, got .*top_genes"):
        decoder_map(SCORES, ("genes", "top_genes"), show=False)
