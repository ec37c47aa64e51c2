"""`biosae steer`: edit codes inside the model's forward pass, beside baselines that need no SAE."""

from __future__ import annotations

from omegaconf import DictConfig

from biosae.pipeline.steer import steer as steer_run

from .launch import launch
from .settings import opened_run


def main() -> None:
    launch("steer", steer)


def steer(cfg: DictConfig) -> None:
    """Steer the model of a run with its SAE."""
    with opened_run(cfg) as (folder, settings):
        steer_run(folder, settings)
