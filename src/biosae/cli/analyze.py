"""`biosae analyze`: what every feature means, scored on samples that nothing was chosen on."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from biosae.analysis.score_features import score_features as score

from .controls import write_controls
from .launch import launch
from .runs import open_run, read_run


def main() -> None:
    launch("analyze", analyze)


def analyze(cfg: DictConfig) -> Path:
    """Writes scores.csv, tables/ and analysis.json of a run, and controls.csv when asked to."""
    with open_run(cfg) as folder:
        write_scores(cfg, folder)
    return folder


def write_scores(cfg: DictConfig, folder: Path) -> None:
    """Scores the features in ``folder`` against the labels of its data."""
    data = read_run(folder)["data"]
    settings = OmegaConf.to_container(cfg.analysis, resolve=True)
    wants_controls, label_keys = settings.pop("controls"), settings.pop("label_keys")
    labels = {"label_keys": label_keys or data["label_keys"], "group_key": data["batch_key"]}
    score(folder / "features.h5ad", folder / "token_codes", folder, **labels, seed=cfg.seed, **settings)
    if wants_controls:
        write_controls(folder, labels, cfg.analysis.n_permutations, cfg.seed)
