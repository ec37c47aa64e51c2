"""`biosae analyze`: what every feature means, scored on samples that nothing was chosen on."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from biosae.activations.store import ActivationStore
from biosae.analysis.controls import analyze_controls
from biosae.analysis.scores import analyze as score
from biosae.errors import SettingError
from biosae.features.controls import pooled_controls
from biosae.features.table import read_table
from biosae.features.token_codes import TokenCodes

from .launch import launch
from .runs import find_run, read_run

logger = logging.getLogger(__name__)


def main() -> None:
    launch("analyze", analyze)


def analyze(cfg: DictConfig) -> Path:
    """Writes scores.csv, tables/ and analysis.json of a run, and controls.csv when asked to."""
    folder = find_run(cfg.experiment.root, cfg.sae_checkpoint.experiment, cfg.sae_checkpoint.timestamp)
    write_scores(cfg, folder)
    return folder


def write_scores(cfg: DictConfig, folder: Path) -> None:
    """Scores the features in ``folder`` against the labels of its data."""
    data = read_run(folder)["data"]
    settings = dict(cfg.analysis)
    wants_controls = settings.pop("controls")
    labels = {"label_keys": data["label_keys"], "group_key": data["batch_key"]}
    score(folder / "features.h5ad", folder / "token_codes", folder, **labels, seed=cfg.seed, **settings)
    if wants_controls:
        write_controls(folder, labels, cfg.analysis.n_permutations, cfg.seed)


def write_controls(folder: Path, labels: dict, n_permutations: int, seed: int) -> None:
    """controls.csv: what simpler axes of the same activations recover, by the same code and splits."""
    store = read_run(folder)["activations"]["folder"]
    if store is None:
        raise SettingError("analysis.controls=true needs activations on disk: train with buffer=store")
    codes = TokenCodes(folder / "token_codes")
    part = read_table(folder / "features.h5ad").obs["biosae_part"]
    train = (part == "train").to_numpy().nonzero()[0]
    k = max(1, round(codes.nnz / codes.n_tokens))
    controls = pooled_controls(ActivationStore(Path(store)), train, codes.d_sae, k, seed)
    table = analyze_controls(
        folder / "features.h5ad", controls, folder, n_permutations=n_permutations, seed=seed, **labels
    )
    logger.info("controls in %s: %d rows", folder / "controls.csv", len(table))
