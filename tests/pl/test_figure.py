import inspect

import matplotlib
import pytest
from matplotlib import pyplot as plt

from biosae import pl
from biosae.pl.figure import SMALL, drawing, new_axes


@pytest.mark.parametrize("name", pl.__all__)
def test_every_figure_takes_show_and_save_by_name(name):
    parameters = inspect.signature(getattr(pl, name)).parameters
    assert parameters["show"].default is True and parameters["save"].default is None
    assert parameters["show"].kind is parameters["save"].kind is inspect.Parameter.KEYWORD_ONLY


def test_axes_are_shown_only_when_asked_and_stay_open(monkeypatch, tmp_path):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(True))
    draw = drawing()(lambda ax=None: new_axes(ax))
    ax = draw(show=False, save=tmp_path / "a.png")
    assert not shown and plt.fignum_exists(ax.figure.number)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert draw(ax=ax) is ax and shown == [True]


def test_a_figure_of_panels_is_drawn_in_its_style_and_closed():
    sizes = []

    @drawing(SMALL)
    def panels():
        sizes.append(matplotlib.rcParams["font.size"])
        return plt.subplots(1, 2)[0]

    before = matplotlib.rcParams["font.size"]
    figure = panels(show=False)
    assert sizes == [SMALL["font.size"]] and matplotlib.rcParams["font.size"] == before != SMALL["font.size"]
    assert not plt.fignum_exists(figure.number)
