"""`biosae report`: the artefacts of a run as one static page."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from biosae.locks import locked
from biosae.report.page import write_report, write_single_page

from .launch import launch
from .runs import find_run

logger = logging.getLogger(__name__)


def main() -> None:
    launch("report", report)


def report(cfg: DictConfig) -> Path:
    """Writes the report of a run and gives its page."""
    folder = find_run(cfg.experiment.root, cfg.sae_checkpoint.experiment, cfg.sae_checkpoint.timestamp)
    with locked(place_of(cfg, folder)):
        page = write_page(cfg, folder)
    logger.info("open %s", page)
    return page


def write_page(cfg: DictConfig, folder: Path) -> Path:
    """The report as a folder, or as one file."""
    place = place_of(cfg, folder)
    if cfg.report.one_file:
        return write_single_page(folder, place / "report.html")
    return write_report(folder, place / "report")


def place_of(cfg: DictConfig, folder: Path) -> Path:
    """Where the report goes: beside the artefacts of its run, unless ``report.folder`` says where."""
    return folder if cfg.report.folder is None else Path(cfg.report.folder).expanduser()
