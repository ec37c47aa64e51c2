import pandas as pd
import pytest

from biosae import pl
from biosae.errors import SettingError


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


def test_class_that_was_chosen_is_in_colour():
    rows = {
        "feature": [4, 4],
        "label": "cell_type",
        "class": ["B", "T"],
        "auroc_select": [0.6, 0.9],
        "auroc": [0.7, 0.6],
    }
    ax = pl.classes(pd.DataFrame(rows), 4, "cell_type", show=False)
    chosen, other = (patch.get_facecolor() for patch in ax.patches)
    assert [patch.get_width() for patch in ax.patches] == [0.6, 0.7]
    assert chosen != other


def test_top_genes_are_largest_first_from_above():
    genes = pd.DataFrame({"feature": [0, 0, 0, 1], "gene": list("ABCD"), "share": [0.1, 0.5, 0.2, 0.9]})
    ax = pl.top_genes(genes, 0, n=2, show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["C", "B"]
    assert [patch.get_width() for patch in ax.patches] == [20, 50]


def test_every_living_feature_is_in_the_density_once(adata):
    ax = pl.density(adata, show=False)
    assert sum(patch.get_height() for patch in ax.patches) == 2
    assert ax.get_title() == "1 dead"


def test_sets_are_ordered_by_corrected_p_and_show_their_fold():
    rows = {"feature": [0, 0, 1], "set": ["far", "near", "x"], "fold": [2.0, 8.0, 3.0], "q_value": [0.04, 1e-6, 0.01]}
    ax = pl.enrichment(pd.DataFrame(rows), 0, show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["far", "near"]
    assert [patch.get_width() for patch in ax.patches] == [2, 8]
    assert [text.get_text() for text in ax.texts] == ["q = 0.04", "q = 1e-06"]
    with pytest.raises(SettingError, match="feature 2 has no enriched gene set"):
        pl.enrichment(pd.DataFrame(rows), 2, show=False)
