"""`biosae sweep`: the runs of one experiment beside each other, by the settings that differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from rich.markup import escape
from rich.table import Table

from biosae.artefacts import atomic_write, read_json
from biosae.errors import ArtefactError
from biosae.pl import sweep as draw
from biosae.progress import console

from .launch import launch
from .runs import RUN, read_config

MEASURES = ("fvu", "l0", "dead_fraction", "cosine", "recovery_vs_zero", "recovery_vs_mean")
SHOWN = ("fvu", "l0", "dead_fraction", "recovery_vs_mean")
NO_SETTINGS = ("experiment", "sae_checkpoint", "analysis", "steer", "benchmark", "report", "stages")
"""Sections of config.yaml that decide nothing about the SAE."""


def main() -> None:
    launch("sweep", sweep)


def sweep(cfg: DictConfig) -> Path:
    """Writes sweep.csv and sweep.svg of an experiment, and shows the table."""
    parent = Path(cfg.experiment.root, cfg.experiment.number)
    table = sweep_table(parent)
    with atomic_write(parent / "sweep.csv") as temporary:
        table.to_csv(temporary)
    with atomic_write(parent / "sweep.svg") as temporary:
        draw(table, show=False, save=temporary)
    _show(table, f"{parent}: held-out numbers, also in sweep.csv and sweep.svg")
    return parent / "sweep.csv"


def sweep_table(parent: Path) -> pd.DataFrame:
    """One row a finished run, sorted by the settings that differ between runs, then `MEASURES`.

    Raises
    ------
    ArtefactError
        If there are fewer than two finished runs.
    """
    folders = sorted(path.parent for path in parent.glob(f"*/{RUN}"))
    if len(folders) < 2:
        message = (
            f"{parent} has {len(folders)} finished runs, a sweep needs two; make it with `biosae train -m key=a,b`"
        )
        raise ArtefactError(message)
    settings = pd.DataFrame([_settings(folder) for folder in folders], index=[folder.name for folder in folders])
    differing = [name for name in settings if settings[name].map(repr).nunique() > 1]
    numbers = pd.DataFrame([_evaluation(folder) for folder in folders], index=settings.index)
    found = settings[differing].join(numbers[[name for name in MEASURES if name in numbers]])
    return (found.sort_values(differing, key=_sortable) if differing else found).rename_axis("run")


def _settings(folder: Path) -> dict[str, Any]:
    """Every setting by its dotted name, and the variant by its class."""
    config = OmegaConf.to_container(read_config(folder), resolve=True)
    flat = pd.json_normalize({name: value for name, value in config.items() if name not in NO_SETTINGS})
    settings = flat.iloc[0].to_dict()
    return {"variant": settings.pop("sae.variant")} | settings


def _evaluation(folder: Path) -> dict[str, float]:
    return read_json(folder / "evaluation.json", made_by="the train stage")


def _sortable(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().all() else column.map(str)


def _show(table: pd.DataFrame, title: str) -> None:
    """What fits on a screen: settings that all runs have, k, and four numbers."""
    settings = [name for name in table if name not in MEASURES]
    shared = [name for name in settings if table[name].notna().all() or name.endswith(".k")]
    table = table[shared + [name for name in SHOWN if name in table]]
    shown = Table(title=escape(title), title_justify="left", box=None)
    for name in (table.index.name, *table):
        shown.add_column(escape(name.rpartition(".")[2]), overflow="fold")
    for run, row in table.iterrows():
        shown.add_row(run, *(_text(value) for value in row))
    console.print(shown)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return escape(str(value))
