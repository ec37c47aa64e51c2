"""`biosae report`: the artefacts of a run as one static page."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from biosae.report.page import write_report

from .launch import launch
from .runs import find_run

logger = logging.getLogger(__name__)


def main() -> None:
    launch("report", report)


def report(cfg: DictConfig) -> Path:
    """Writes report/ of a run and gives its index.html."""
    folder = find_run(cfg.experiment.root, cfg.sae_checkpoint.experiment, cfg.sae_checkpoint.timestamp)
    page = write_report(folder, folder / "report")
    logger.info("open %s", page)
    return page
