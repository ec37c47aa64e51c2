import numpy as np
import pandas as pd

from biosae import pl
from biosae.analysis.feature_history import feature_history


def history():
    last = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    middle = np.array([[0.0, 1.0], [0.0, 1.0], [4.0, 3.0]])
    return feature_history({20: last, 10: middle, 5: last * [[1], [1], [-1]]}, last)


def test_cosines_and_the_step_from_which_a_feature_stays():
    table = history()
    assert list(table.columns) == ["settled_at", "step_5", "step_10", "step_20"]
    np.testing.assert_allclose(table.to_numpy()[:, 1:].astype(float), [[1, 0, 1], [1, 1, 1], [-1, 0.96, 1]])
    assert table["settled_at"].tolist() == [20, 5, 10]


def test_a_feature_that_never_settles_is_missing():
    table = feature_history({3: np.array([[1.0, 0.0], [0.0, 0.0]])}, np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert table["settled_at"].isna().all()


def test_the_figure_has_quartiles_and_the_settled_share():
    ax = pl.feature_history(history(), show=False)
    lines = {line.get_label(): line.get_ydata().tolist() for line in ax.lines}
    np.testing.assert_allclose(lines["median cosine"], [1, 0.96, 1])
    np.testing.assert_allclose(lines["settled share"], [1 / 3, 2 / 3, 1])
    assert ax.lines[0].get_xdata().tolist() == [5, 10, 20]
    assert isinstance(history(), pd.DataFrame)
