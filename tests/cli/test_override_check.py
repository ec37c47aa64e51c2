from __future__ import annotations

import pytest

from biosae.cli.override_check import without_removed
from biosae.errors import SettingError


def test_commands_of_earlier_versions_may_name_former_defaults():
    words = ["training.shard_dictionary=false", "training.epochs=2", "training.resample_at=[]", "-m"]
    assert without_removed(words) == ["training.epochs=2", "-m"]


@pytest.mark.parametrize("word", ["training.shard_dictionary=true", "training.average_window_fraction=0.1"])
def test_other_values_are_refused(word):
    with pytest.raises(SettingError, match=rf"^{word}: training\.\w+ was removed .*leave it out"):
        without_removed([word])
