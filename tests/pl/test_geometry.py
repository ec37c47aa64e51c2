import numpy as np
import pandas as pd
import pytest

from biosae.errors import SettingError
from biosae.pl import decoder_map, neighbours, stability

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
    with pytest.raises(SettingError, match="analyze stage with map_decoder=True"):
        decoder_map(SCORES.drop(columns=[("geometry", "map_x")]), show=False)
    with pytest.raises(SettingError, match="column of numbers, got .*top_genes"):
        decoder_map(SCORES, ("genes", "top_genes"), show=False)


def test_neighbours_are_nearest_first_from_above():
    W_dec = np.array([[1, 0], [2, 2], [0, 3], [-1, 0]], dtype=np.float32)
    ax = neighbours(W_dec, 0, names=["a", "b", "c", "d"], show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["3  d", "2  c", "1  b"]
    np.testing.assert_allclose([patch.get_width() for patch in ax.patches], [-1, 0, np.sqrt(0.5)], atol=1e-6)


def test_stability_is_a_histogram_of_cosines_and_says_how_many_are_stable():
    scores = pd.DataFrame({("stability", "cosine"): [0.9, 0.2, np.nan], ("stability", "comes_back"): [1, 0.4, np.nan]})
    ax = stability(scores, show=False)
    assert sum(patch.get_height() for patch in ax.patches) == 2
    assert ax.get_title() == "33% stable"
    with pytest.raises(SettingError, match="run the stability stage first"):
        stability(SCORES, show=False)
