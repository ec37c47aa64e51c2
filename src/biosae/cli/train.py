"""`biosae train`: samples and a foundation model in, sparse autoencoders of one layer or several out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from omegaconf import DictConfig

from biosae.pipeline.train import train_sweep

from .launch import launch
from .settings import reading_settings

logger = logging.getLogger(__name__)


def main() -> None:
    launch("train", lambda cfg: train([cfg]), train)


def train(configs: Sequence[DictConfig]) -> None:
    """Train the SAEs of one command or of a sweep."""
    folders = train_sweep([reading_settings(cfg) for cfg in configs])
    if len(folders) > 1:
        logger.info("side by side: biosae sweep experiment.number=%s", configs[0].experiment.number)
