import numpy as np
import pandas as pd
import pytest

from biosae import pl
from biosae.errors import SettingError
from biosae.pl import comparison, comparison_curves


@pytest.fixture
def table():
    rows = [
        {"model": model, "epoch": epoch, "step": 9 * epoch, "split": split}
        for model in ("standard", "topk")
        for epoch in (1, 2, 3)
        for split in ("train", "val", "test")
    ]
    numbers = np.random.default_rng(0).random((len(rows), 5))
    rows = pd.DataFrame(rows).assign(k=lambda table: table["model"].map({"topk": 64}))
    return rows.join(pd.DataFrame(numbers, columns=["loss", "nmse", "fvu", "l0", "dead_fraction"]))


def test_bars_are_the_last_epoch_of_each_model_and_split(table, tmp_path):
    figure = comparison(table, show=False, save=tmp_path / "a.svg")
    assert len(figure.axes) == 6
    last = table[table["epoch"] == 3].set_index(["split", "model"])
    for ax, (quantity, split) in zip(
        figure.axes, [(q, s) for q in ("loss", "nmse") for s in ("train", "val", "test")], strict=True
    ):
        heights = [bar.get_height() for bar in ax.patches]
        np.testing.assert_allclose(heights, last.loc[split].loc[["standard", "topk"], quantity])
    (legend,) = figure.legends
    l0 = [f"{last.loc[('test', model), 'l0']:.1f}" for model in ("standard", "topk")]
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [f"Standard (ReLU, L1), L0 {l0[0]}", f"TopK, k 64, L0 {l0[1]}"]
    for row in (figure.axes[:3], figure.axes[3:]):  # equal digits within a row
        written = {len(text.get_text().partition(".")[2]) for ax in row for text in ax.texts}
        assert len(written) == 1
    assert (tmp_path / "a.svg").stat().st_size > 1000
    assert figure.get_size_inches()[0] == 3.5


def test_curves_have_a_point_for_every_epoch(table):
    figure = comparison_curves(table, show=False)
    dead = figure.axes[2].lines[0]
    expected = table[(table["model"] == "standard") & (table["split"] == "train")]
    np.testing.assert_allclose(dead.get_ydata(), expected["dead_fraction"])
    assert list(dead.get_xdata()) == [1, 2, 3]


def test_an_empty_table_is_refused(table):
    with pytest.raises(SettingError, match="the comparison is empty"):
        comparison(table.iloc[:0], show=False)


@pytest.fixture
def metrics():
    return pd.DataFrame({"step": [1, 1], "tokens": [8, 8], "split": ["train", "validate"], "fvu": [np.nan, 0.5]})


def test_rows_without_the_quantity_are_left_out(metrics):
    ax = pl.training(metrics, show=False)
    assert [line.get_label() for line in ax.lines] == ["validate"]
    assert ax.lines[0].get_ydata().tolist() == [0.5]


def test_unknown_quantity_names_those_there_are(metrics):
    with pytest.raises(SettingError, match="one of fvu, got loss"):
        pl.training(metrics, "loss", show=False)


def test_baselines_are_dashed_lines_within_the_axes():
    rows = [
        {"model": "topk", "epoch": n, "step": n, "split": split, "loss": 0.1 / n, "nmse": 0.1 / n, "l0": 8.0, "k": 8}
        for n in (1, 2)
        for split in ("train", "val", "test")
    ]
    table = pd.DataFrame(rows).assign(dead_fraction=0.0, fvu=0.1)
    baselines = pd.DataFrame({"baseline": ["mean", "pca-8"], "split": "test", "nmse": [0.9, 0.02]})
    bars, curves = comparison(table, baselines, show=False), comparison_curves(table, baselines, show=False)
    for figure, ax in ((bars, bars.axes[5]), (curves, curves.axes[0])):
        dashed = [line.get_ydata()[0] for line in ax.lines if line.get_color() == "black"]
        assert dashed == [0.02]
        assert "pca-8" in [text.get_text() for text in figure.legends[0].get_texts()]
