"""`biosae stability`: which features other runs, with another seed or other data, find again."""

from __future__ import annotations

from dataclasses import replace

from omegaconf import DictConfig

from biosae.analysis.stability import analyze_stability
from biosae.errors import SettingError
from biosae.locks import locked
from biosae.runs.folders import find_run

from .launch import launch
from .settings import settings_of


def main() -> None:
    launch("stability", stability)


def stability(cfg: DictConfig) -> None:
    """Add the columns ``stability`` to the scores.csv of a run."""
    settings = settings_of(cfg)
    chosen = settings.sae_checkpoint
    if not chosen.others:
        raise SettingError("name the runs to compare with as sae_checkpoint.others=[Jan29-10-00,...]")
    folder = find_run(settings.experiment, chosen)
    others = [find_run(settings.experiment, replace(chosen, timestamp=timestamp)) for timestamp in chosen.others]
    if folder in others:
        raise SettingError(f"a run cannot be compared with itself: {folder.name} is among sae_checkpoint.others")
    with locked(folder):
        analyze_stability(folder, others, settings.seed)
