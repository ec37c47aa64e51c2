import numpy as np
import pandas as pd
import pytest

from biosae import pl
from biosae.errors import SettingError
from biosae.pl import perturbation_panels, steering_panels


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
