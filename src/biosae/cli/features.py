"""`biosae features`: a trained SAE reads every token; codes stay sparse, pooled per sample they open in scanpy."""

from __future__ import annotations

from omegaconf import DictConfig

from biosae.pipeline.encode import encode

from .launch import launch
from .settings import opened_run


def main() -> None:
    launch("features", features)


def features(cfg: DictConfig) -> None:
    """Encode the samples of a run, or those that the command line names."""
    with opened_run(cfg) as (folder, settings):
        encode(folder, settings)
