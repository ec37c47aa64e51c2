"""`biosae sweep`: the runs of one experiment beside each other, by the settings that differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig
from rich.markup import escape
from rich.table import Table

from biosae.pipeline.sweep_table import MEASURES, write_sweep
from biosae.progress import results

from .launch import launch

SHOWN = ("fvu", "l0", "dead_fraction", "recovery_vs_mean")


def main() -> None:
    launch("sweep", sweep)


def sweep(cfg: DictConfig) -> None:
    """Write sweep.csv and sweep.svg of an experiment, and show the table."""
    parent = Path(cfg.experiment.root, cfg.experiment.number)
    _show(write_sweep(parent), f"{parent}: held-out numbers, also in sweep.csv and sweep.svg")


def _show(table: pd.DataFrame, title: str) -> None:
    """Print what fits on a screen: settings that all runs have, k, and four numbers."""
    settings = [name for name in table if name not in MEASURES]
    shared = [name for name in settings if table[name].notna().all() or name.endswith(".k")]
    table = table[shared + [name for name in SHOWN if name in table]]
    shown = Table(title=escape(title), title_justify="left", box=None)
    for name in (table.index.name, *table):
        shown.add_column(escape(name.rpartition(".")[2]), overflow="fold")
    for run, row in table.iterrows():
        shown.add_row(run, *(_text(value) for value in row))
    results.print(shown)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return escape(str(value))
