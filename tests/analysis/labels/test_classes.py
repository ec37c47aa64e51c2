import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import LabelColumn


def test_samples_without_donors_are_one_group():
    values, part = pd.Series(["B", "T", None], name="cell_type"), np.array(["select", "test", "test"])
    donor = pd.Series(["x", "y", "x"], index=["cell1", "cell2", "cell3"], name="donor")
    assert LabelColumn(values, part).groups.tolist() == [0, 0, 0]
    assert LabelColumn(values, part, donor).groups.tolist() == ["x", "y", "x"]
    assert LabelColumn(values, part).name == "cell_type"
