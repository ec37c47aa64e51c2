import pandas as pd
import pytest

from biosae import pl
from biosae.errors import SettingError


def test_letters_are_as_high_as_their_information_with_the_largest_on_top(tmp_path):
    heights = pd.DataFrame(0.0, index=range(3), columns=list("ACDEFGHIKLMNPQRSTVWY"))
    heights.loc[1, ["A", "W"]] = [1.0, 2.5]
    ax = pl.sequence_logo(heights, show=False, save=tmp_path / "logo.svg")
    boxes = [patch.get_path().get_extents() for patch in ax.patches]
    assert [(round(box.y0, 6), round(box.height, 6)) for box in boxes] == [(0, 1.0), (1.0, 2.5)]
    assert all(box.x0 == pytest.approx(-0.45) for box in boxes)
    assert (tmp_path / "logo.svg").stat().st_size > 500
    ax = pl.sequence_logo(heights, first=7, show=False)
    assert (ax.get_xlim(), ax.get_xlabel()) == ((6.5, 9.5), "residue")
    with pytest.raises(SettingError, match="the logo is empty"):
        pl.sequence_logo(heights.iloc[:0], show=False)
