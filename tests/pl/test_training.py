import numpy as np
import pandas as pd
import pytest

from biosae import pl
from biosae.errors import SettingError


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
