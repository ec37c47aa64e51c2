"""Figures of edits draw what their tables hold."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from biosae import pl
from biosae.errors import SettingError
from biosae.pl import integration
from biosae.pl.interventions import SCORES, perturbation_panels, steering_panels


@pytest.fixture
def effects():
    """Two numbers of features and two values of the SAE's features, three seeds of matched ones, centring."""
    rows = []
    for metric in ("shift", "target_gap", "label_kept"):
        for n in (10, 30):
            for value in (0.0, 2.0):
                rows.append(("sae", n, "clamp", value, np.nan, metric, n / 100 + value, 0.1, 0.9))
                rows += [("matched_features", n, "clamp", value, s, metric, 0.9 + s / 100, 0.1, 0.9) for s in range(3)]
        rows.append(("centring", np.nan, None, np.nan, np.nan, metric, 0.2, 0.1, 0.3))
    columns = ["method", "n_features", "operation", "value", "seed", "metric", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(group_by="all", group="", unit="scale")


def lines(ax):
    return {line.get_label(): line.get_ydata() for line in ax.get_lines() if not line.get_label().startswith("_")}


def test_effect_against_features_and_value(effects):
    by_n = lines(pl.steering(effects, "target_gap", show=False))
    np.testing.assert_allclose(by_n["SAE features"], [2.1, 2.3])
    np.testing.assert_allclose(by_n["matched random features"], [0.91, 0.91])
    assert by_n["centring"][0] == 0.2
    by_value = lines(pl.steering(effects, "target_gap", "value", show=False))
    np.testing.assert_allclose(by_value["SAE features"], [0.3, 2.3])


def test_an_unknown_metric_names_those_there_are(effects):
    with pytest.raises(SettingError, match="metric must be one of shift, target_gap, label_kept, got speed"):
        pl.steering(effects, "speed", show=False)


def test_perturbation_draws_the_strength_that_select_chose(effects):
    table = effects.assign(part="test", metric="distance_closed", best_on_select=effects["value"] != 0.0)
    drawn = lines(pl.perturbation(table[effects["metric"] == "shift"], show=False))
    np.testing.assert_allclose(drawn["SAE features"], [2.1, 2.3])


def test_panels_are_written_as_vector_and_picture(effects, tmp_path):
    steering_panels(effects, tmp_path / "effects")
    table = effects.assign(part="test", best_on_select=True).replace({"metric": {"shift": "distance_closed"}})
    perturbation_panels(table, tmp_path / "perturbation")
    assert {path.name for path in tmp_path.iterdir()} == {
        "effects.svg", "effects.png", "perturbation.svg", "perturbation.png"
    }  # fmt: skip
    assert "SAE features" in (tmp_path / "effects.svg").read_text() or "<svg" in (tmp_path / "effects.svg").read_text()


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
