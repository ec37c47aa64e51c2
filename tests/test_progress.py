import io

from rich.console import Console

from biosae import progress


def test_a_bar_of_unknown_length_ends_full_and_no_rate_is_told_of_what_took_no_time(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=said, width=80))
    with progress.progress_bar("report", None, "files") as advance:
        advance(3)
    assert "100%" in said.getvalue()
    said.truncate(0)
    with progress.progress_bar("reading", 5, "cells") as advance:
        advance(5)
    assert "100%" in said.getvalue() and "0.0 cells/s" not in said.getvalue()
