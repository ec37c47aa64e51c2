import numpy as np
import pytest

from biosae import pl
from biosae.errors import SettingError


def test_most_active_cell_is_drawn_last(adata):
    ax = pl.feature_map(adata, 0, show=False)
    points = ax.collections[0]
    assert points.get_array().tolist() == [0, 0, 2, 3]
    assert points.get_offsets()[-1].tolist() == [1, 1]


def test_boxes_stand_at_the_quartiles_of_their_group(adata):
    ax = pl.activation(adata, 0, "cell_type", show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B", "T"]
    box = ax.patches[0].get_path().vertices[:, 0]
    assert (box.min(), box.max()) == tuple(np.quantile([3, 2], [0.25, 0.75]))


def test_precision_and_recall_are_those_of_the_test_samples(adata):
    adata.obs["biosae_part"] = ["test", "test", "train", "test"]
    ax = pl.precision_recall(adata, 1, "cell_type", "T", show=False)
    recall, precision = ax.lines[0].get_xdata(), ax.lines[0].get_ydata()
    # codes 1 and 0.5 are T, 0 is B: perfect until everything counts as T
    assert list(zip(recall, precision, strict=True)) == [(1, 2 / 3), (1, 1), (0.5, 1), (0, 1)]
    assert ax.lines[1].get_ydata()[0] == 2 / 3
    with pytest.raises(SettingError, match="no test samples of both NK and another class"):
        pl.precision_recall(adata, 1, "cell_type", "NK", show=False)


def test_saves_a_vector_figure(adata, tmp_path):
    pl.feature_map(adata, 0, show=False, save=tmp_path / "map.svg")
    assert "<svg" in (tmp_path / "map.svg").read_text(encoding="utf-8")


def test_draws_on_given_axes(adata):
    ax = pl.activation(adata, 0, "cell_type", show=False)
    assert pl.activation(adata, 1, "cell_type", ax=ax, show=False) is ax


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: pl.feature_map(a, 3, show=False), "between 0 and 2, got 3"),
        (lambda a: pl.feature_map(a, 0, basis="pca", show=False), "one of umap, got pca"),
        (lambda a: pl.activation(a, 0, "donor", show=False), "column of obs .cell_type., got donor"),
    ],
)
def test_bad_arguments_say_what_is_there(adata, call, message):
    with pytest.raises(SettingError, match=message):
        call(adata)


def test_what_is_not_there_is_told_with_what_to_type(adata):
    with pytest.raises(SettingError, match="feature is a number such as 12, got 'f1'"):
        pl.activation(adata, "f1", "cell_type", show=False)
    pl.activation(adata, np.int64(1), "cell_type", show=False)
    del adata.obsm["X_umap"]
    with pytest.raises(SettingError, match="there is no map; .*use_rep='X_model'"):
        pl.feature_map(adata, 1, show=False)
