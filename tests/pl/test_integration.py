"""The integration figure draws what the summary says."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from biosae.errors import SettingError
from biosae.pl import integration
from biosae.pl.interventions import SCORES

matplotlib.use("Agg")


@pytest.fixture
def summary():
    rows = [("original", np.nan, np.nan, 0.4), ("sae", 10, -2.0, 0.5), ("sae", 30, -2.0, 0.6), ("sae", 10, 0.0, 0.1)]
    rows += [("random_direction", 10, -2.0, 0.41), ("random_direction", 30, -2.0, 0.42), ("pca", np.nan, np.nan, 0.7)]
    table = pd.DataFrame(rows, columns=["method", "n_features", "value", "level"])
    for metric in SCORES:
        table[metric] = table["level"]
        table[f"{metric}_low"], table[f"{metric}_high"] = table["level"] - 0.1, table["level"] + 0.05
    return table


def test_lines_rules_and_intervals(summary, tmp_path):
    figure = integration(summary, show=False, save=tmp_path / "figure.svg")
    ax = figure.axes[0]
    lines = {line.get_label(): line for line in ax.get_lines()}
    sae = ax.containers[0]
    assert sae.get_label() == "SAE features"
    assert sae.lines[0].get_ydata().tolist() == [0.5, 0.6]  # the value of the largest size only
    ((start, end), *_) = sae.lines[2][0].get_segments()
    assert (start[1], end[1]) == pytest.approx((0.4, 0.55))
    assert lines["PCA of counts"].get_ydata() == [0.7, 0.7]
    beside = [line for line in ax.get_lines() if line.get_transform() == ax.get_yaxis_transform()]
    assert any(list(line.get_ydata()) == pytest.approx([0.6, 0.75]) for line in beside)  # the interval of PCA
    assert [tick.get_text() for tick in figure.axes[-1].get_xticklabels()] == ["10", "30"]
    assert figure.get_figwidth() == 3.5
    assert (tmp_path / "figure.svg").stat().st_size > 0


def test_without_intervals_and_without_random_baselines(summary):
    bare = summary[summary["method"].isin(["original", "sae"])].copy()
    bare[[f"{metric}_{end}" for metric in SCORES for end in ("low", "high")]] = np.nan
    assert integration(bare, show=False).axes


def test_another_table_is_refused():
    with pytest.raises(SettingError, match="integration_summary.csv"):
        integration(pd.DataFrame({"method": []}), show=False)
