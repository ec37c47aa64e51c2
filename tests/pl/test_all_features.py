import numpy as np
import pandas as pd
import pytest

from biosae import pl
from biosae.errors import SettingError
from biosae.pl import controls, decoder_map, stability

TABLE = pd.DataFrame(
    {
        "axes": ["sae", "pca", "sae, shuffled labels", "sae"],
        "label": ["cell_type", "cell_type", "cell_type", "donor"],
        "n_axes": [1024, 256, 1024, 1024],
        "n_concepts": [8, 8, 8, 4],
        "n_recovered": [8, 6, 0, 1],
        "expected_by_chance": [0.4, 0.4, 0.4, 0.2],
        "auroc": [0.95, 0.9, 0.52, 0.6],
        "null_auroc": [0.7, 0.66, 0.7, 0.64],
    }
)


def test_axes_stand_in_the_order_of_the_classes_they_recover(tmp_path):
    ax = controls(TABLE, "cell_type", show=False, save=tmp_path / "controls.svg")
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names == ["sae, shuffled labels (1,024)", "pca (256)", "sae (1,024)"]
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == [0, 6, 8]
    assert [text.get_text() for text in ax.texts] == ["0.52 (0.70)", "0.90 (0.66)", "0.95 (0.70)", "AUROC (null)"]
    assert "<svg" in (tmp_path / "controls.svg").read_text(encoding="utf-8")


def test_all_labels_count_together():
    ax = controls(TABLE, show=False)
    assert ax.collections[-1].get_offsets()[:, 0].tolist() == [0, 6, 9]
    assert ax.lines[0].get_xdata() == pytest.approx([0.4, 0.4, 0.6])
    # The SAE's mean over twelve classes: (8 * 0.95 + 4 * 0.6) / 12.
    assert ax.texts[2].get_text() == "0.83 (0.68)"


def test_an_unknown_label_names_the_known_ones():
    with pytest.raises(SettingError, match="one of cell_type, donor, got age"):
        controls(TABLE, "age", show=False)


SCORES = pd.DataFrame(
    {
        ("geometry", "map_x"): [0.0, 1.0, 2.0],
        ("geometry", "map_y"): [3.0, 4.0, 5.0],
        ("geometry", "nearest_cosine"): [0.5, np.nan, 0.9],
        ("genes", "top_genes"): ["A", "B", "C"],
    }
)


def test_marker_is_chosen_on_select_and_shown_on_test(scores):
    ax = pl.markers(scores, "cell_type", show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["T  f2", "B  f1"]
    assert ax.lines[0].get_xdata().tolist() == [0.6, 0.85]
    assert ax.lines[1].get_xdata().tolist() == [0.62, 0.65]


def test_unknown_label_names_those_there_are(scores):
    with pytest.raises(SettingError, match="one of cell_type, got donor"):
        pl.markers(scores, "donor", show=False)


def test_other_scores_are_not_listed_as_labels_and_a_plain_read_is_told_apart(scores):
    scores["enrichment", "auroc"] = 0.5
    with pytest.raises(SettingError, match="one of cell_type, got donor"):
        pl.markers(scores, "donor", show=False)
    scores.columns = [f"{analysis}.{metric}" for analysis, metric in scores.columns]
    with pytest.raises(SettingError, match=r"two header rows: read it with pd.read_csv\(path, header=\[0, 1\]"):
        pl.markers(scores, "cell_type", show=False)


def test_every_living_feature_is_in_the_density_once(adata):
    ax = pl.density(adata, show=False)
    assert sum(patch.get_height() for patch in ax.patches) == 2
    assert ax.get_title() == "1 dead"


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


def test_stability_is_a_histogram_of_cosines_and_says_how_many_are_stable():
    scores = pd.DataFrame({("stability", "cosine"): [0.9, 0.2, np.nan], ("stability", "comes_back"): [1, 0.4, np.nan]})
    ax = stability(scores, show=False)
    assert sum(patch.get_height() for patch in ax.patches) == 2
    assert ax.get_title() == "33% stable"
    with pytest.raises(SettingError, match="run the stability stage first"):
        stability(SCORES, show=False)
