"""`biosae stability`: which features other runs, with another seed or other data, find again."""

from __future__ import annotations

from omegaconf import DictConfig

from biosae.analysis.stability import analyze_stability
from biosae.errors import SettingError
from biosae.locks import locked

from .launch import launch
from .runs import find_run


def main() -> None:
    launch("stability", stability)


def stability(cfg: DictConfig) -> None:
    """Adds the columns ``stability`` to the scores.csv of a run."""
    root, chosen = cfg.experiment.root, cfg.sae_checkpoint
    if not chosen.others:
        raise SettingError("name the runs to compare with as sae_checkpoint.others=[Jan29-10-00,...]")
    folder = find_run(root, chosen.experiment, chosen.timestamp)
    others = [find_run(root, chosen.experiment, timestamp) for timestamp in chosen.others]
    if folder in others:
        raise SettingError(f"a run cannot be compared with itself: {folder.name} is among sae_checkpoint.others")
    with locked(folder):
        analyze_stability(folder, others, cfg.seed)
