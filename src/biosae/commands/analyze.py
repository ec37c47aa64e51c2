"""`biosae analyze`: what every feature means, scored on samples that nothing was chosen on."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from .launch import launch
from .runs import find_run, read_run


def main() -> None:
    launch("analyze", analyze)


def analyze(cfg: DictConfig) -> Path:
    """Writes scores.csv, tables/ and analysis.json of a run."""
    folder = find_run(cfg.experiment.root, cfg.sae_checkpoint.experiment, cfg.sae_checkpoint.timestamp)
    write_scores(cfg, folder)
    return folder


def write_scores(cfg: DictConfig, folder: Path) -> None:
    """Scores the features in ``folder`` against the labels of its data."""
    from biosae.analysis.scores import analyze as score  # heavy, and not needed to parse a command line

    run = read_run(folder)
    score(
        folder / "features.h5ad",
        folder / "token_codes",
        folder,
        label_keys=run["data"]["label_keys"],
        group_key=run["data"]["batch_key"],
        seed=cfg.seed,
        **cfg.analysis,
    )
