import pandas as pd
import pytest

from biosae.errors import SettingError
from biosae.pl import controls

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
