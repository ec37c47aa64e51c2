"""The report stage: the artefacts of a run as one static page."""

from __future__ import annotations

from pathlib import Path

from biosae.atlas.page import write_report, write_single_page
from biosae.runs.settings import ReportSettings


def report(folder: Path, settings: ReportSettings | None = None) -> Path:
    """Write the report of a run as a folder, or as one file, and return its page."""
    settings = settings or ReportSettings()
    place = place_of(folder, settings)
    if settings.one_file:
        return write_single_page(folder, place / "report.html")
    return write_report(folder, place / "report")


def place_of(folder: Path, settings: ReportSettings) -> Path:
    """Return where the report goes: beside the artefacts of its run, or into the folder that settings name."""
    return folder if settings.folder is None else Path(settings.folder).expanduser()
