import numpy as np
import pytest

from biosae.analysis.stats.held_out import HeldOutSelection
from biosae.errors import SettingError


def test_a_choice_is_not_reported_on_samples_it_saw():
    choice = HeldOutSelection("B cell", np.array([0, 1, 2]))
    assert choice.for_report_on(np.array([3, 4])) == "B cell"
    with pytest.raises(SettingError, match="2 of 3 samples to report on were also used to choose on"):
        choice.for_report_on(np.array([1, 2, 3]))
