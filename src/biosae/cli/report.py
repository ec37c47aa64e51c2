"""`biosae report`: the artefacts of a run as one static page."""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from biosae.locks import locked
from biosae.pipeline.report import place_of
from biosae.pipeline.report import report as write_page
from biosae.runs.folders import find_run

from .launch import launch
from .settings import settings_of

logger = logging.getLogger(__name__)


def main() -> None:
    launch("report", report)


def report(cfg: DictConfig) -> None:
    """Write the report of a run."""
    settings = settings_of(cfg)
    folder = find_run(settings.experiment, settings.sae_checkpoint)
    with locked(place_of(folder, settings.report)):
        page = write_page(folder, settings.report)
    logger.info("open %s", page)
