"""`biosae analyze`: scores of every feature, on samples that nothing was chosen on."""

from __future__ import annotations

from omegaconf import DictConfig

from biosae.pipeline.score import score
from biosae.runs.folders import open_run

from .launch import launch
from .settings import settings_of


def main() -> None:
    launch("analyze", analyze)


def analyze(cfg: DictConfig) -> None:
    """Score the features of a run."""
    settings = settings_of(cfg)
    with open_run(settings.experiment, settings.sae_checkpoint) as folder:
        score(folder, settings.analysis, settings.seed)
