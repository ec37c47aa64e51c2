"""`biosae explain`: examples of features for language models, and scores of the descriptions that come back."""

from __future__ import annotations

from omegaconf import DictConfig

from biosae.pipeline.explain import explain as explain_features
from biosae.runs.folders import open_run

from .launch import launch
from .settings import settings_of


def main() -> None:
    launch("explain", explain)


def explain(cfg: DictConfig) -> None:
    """Write examples of the features of a run, or score descriptions of them."""
    settings = settings_of(cfg)
    with open_run(settings.experiment, settings.sae_checkpoint) as folder:
        explain_features(folder, settings.explain, settings.seed)
