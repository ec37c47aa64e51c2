"""The runs of one experiment beside each other, by the settings that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from biosae.artefacts import atomic_write
from biosae.errors import ArtefactError
from biosae.pl import sweep as draw
from biosae.run_record import RUN, read_evaluation
from biosae.runs.config_file import read_settings
from biosae.runs.plain import plain

from .training_plan import SETTINGS_OF_TRAINING

MEASURES = ("fvu", "l0", "dead_fraction", "cosine", "recovery_vs_zero", "recovery_vs_mean")


def write_sweep(parent: Path) -> pd.DataFrame:
    """Write sweep.csv and sweep.svg of the runs in an experiment's folder, and return the table."""
    table = sweep_table(parent)
    with atomic_write(parent / "sweep.csv") as temporary:
        table.to_csv(temporary)
    with atomic_write(parent / "sweep.svg") as temporary:
        draw(table, show=False, save=temporary)
    return table


def sweep_table(parent: Path) -> pd.DataFrame:
    """Return one row per finished run, sorted by the settings that differ between runs, with `MEASURES`.

    Raises
    ------
    ArtefactError
        If there are fewer than two finished runs.
    """
    folders = sorted(path.parent for path in parent.glob(f"*/{RUN}"))
    if len(folders) < 2:
        message = f"{parent} has {len(folders)} finished runs, a sweep needs two"
        raise ArtefactError(f"{message}; run the train stage with several values of a setting")
    settings = pd.DataFrame([_settings(folder) for folder in folders], index=[folder.name for folder in folders])
    differing = [name for name in settings if settings[name].map(repr).nunique() > 1]
    numbers = pd.DataFrame([_evaluation(folder) for folder in folders], index=settings.index)
    found = settings[differing].join(numbers[[name for name in MEASURES if name in numbers]])
    return (found.sort_values(differing, key=_sortable) if differing else found).rename_axis("run")


def _settings(folder: Path) -> dict[str, Any]:
    """Return every setting by its dotted name."""
    content = plain(read_settings(folder))
    variant = content["sae"].pop("variant")
    flat = pd.json_normalize({name: content[name] for name in SETTINGS_OF_TRAINING})
    return {"variant": variant} | flat.iloc[0].to_dict()


def _evaluation(folder: Path) -> dict[str, float]:
    return read_evaluation(folder)


def _sortable(column: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    return numbers if numbers.notna().all() else column.map(str)
