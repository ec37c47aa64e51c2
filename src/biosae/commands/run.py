"""`biosae run`: the stages in order, in one process, ending with what a biologist wants to know."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from omegaconf import DictConfig

from biosae.errors import SettingError

from .analyze import write_scores
from .benchmark import write_integration
from .features import write_features
from .inputs import load_inputs
from .launch import launch
from .report import write_page
from .runs import find_run
from .steer import write_steering
from .summary import print_summary
from .train import train_on

STAGES = ("train", "features", "analyze", "steer", "benchmark", "report")


def main() -> None:
    launch("run", run)


def run(cfg: DictConfig) -> None:
    """Runs ``cfg.stages`` one after the other; without ``train`` they read the run of ``sae_checkpoint``."""
    unknown = set(cfg.stages) - set(STAGES)
    if unknown or not cfg.stages:
        raise SettingError(f"stages must be some of {', '.join(STAGES)}, got {', '.join(cfg.stages) or 'none'}")
    inputs = cache(lambda: load_inputs(cfg))
    folder = train_on(cfg, inputs()) if "train" in cfg.stages else _earlier_run(cfg)
    if "features" in cfg.stages:
        write_features(cfg, folder, inputs())
    if "analyze" in cfg.stages:
        write_scores(cfg, folder)
    if "steer" in cfg.stages:
        write_steering(cfg, folder, inputs())
    if "benchmark" in cfg.stages:
        write_integration(cfg, folder, inputs)
    if "report" in cfg.stages:
        write_page(cfg, folder)
    print_summary(folder)


def _earlier_run(cfg: DictConfig) -> Path:
    return find_run(cfg.experiment.root, cfg.sae_checkpoint.experiment, cfg.sae_checkpoint.timestamp)
