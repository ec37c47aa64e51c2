"""Comparisons of a run: variants beside it, other runs of its experiment, and simpler axes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from biosae.errors import ArtefactError

from .page_data import number
from .run_folder import RunFolder, optional_csv, records

QUANTITIES = ("loss", "nmse", "fvu", "l0", "dead_fraction")
HELD_OUT = ("test", "val")  # split of comparison.csv that the frontier shows, the first that there is


def compared_runs(run: RunFolder) -> dict[str, Any] | None:
    """``variants``, ``sweep`` and ``controls``, each None when that artefact is absent; None when all are."""
    content = {"variants": variants(run), "sweep": sweep_runs(run), "controls": control_rows(run)}
    return content if any(part is not None for part in content.values()) else None


def variants(run: RunFolder) -> list[dict[str, Any]] | None:
    """One entry per model and split: ``epochs`` and one list per quantity; None when the run is not of a comparison.

    The run folders of a comparison lie inside its own, beside comparison.csv.
    """
    table = optional_csv(run.folder.parent / "comparison.csv", "the compare stage")
    if table is None:
        return None
    names = [name for name in QUANTITIES if name in table.columns]
    return [
        {"model": model, "split": split, "epochs": rows["epoch"].tolist()}
        | {name: rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in names}
        for (model, split), rows in table.sort_values("step", kind="stable").groupby(["model", "split"], sort=False)
    ]


def sweep_runs(run: RunFolder) -> dict[str, Any] | None:
    """``settings`` that differ, ``measures``, and one row per run of sweep.csv; None when there is none."""
    path = run.folder.parent / "sweep.csv"
    if not path.exists():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).apply(_numbers)
        first = table.columns.get_loc("fvu")
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it again with the sweep stage") from error
    columns = list(table.columns)
    return {"mine": run.folder.name, "settings": columns[1:first], "measures": columns[first:], "rows": records(table)}


def _numbers(column: pd.Series) -> pd.Series:
    """The column as numbers where every entry that is not empty is one."""
    values = column.where(column != "", None)
    try:
        return pd.to_numeric(values) if column.name != "run" else values
    except ValueError:
        return values


def control_rows(run: RunFolder) -> list[dict[str, Any]] | None:
    """The rows of controls.csv; None when there is none."""
    return records(optional_csv(run.folder / "controls.csv", "the analyze stage (controls=True)"))


def frontier(compared: dict[str, Any] | None, run: RunFolder) -> list[dict[str, Any]]:
    """``name``, ``l0``, ``fvu`` of the runs beside this one, and whether it is ``mine``; empty without any."""
    if compared is None:
        return []
    if compared["sweep"] is not None:
        rows = compared["sweep"]["rows"]
        points = [{"name": row["run"], "l0": row.get("l0"), "fvu": row["fvu"]} for row in rows]
    else:
        points = _ends(compared["variants"] or [])
    return [point | {"mine": point["name"] == run.folder.name} for point in points]


def _ends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Final numbers of each variant, on held-out tokens."""
    split = next((name for name in HELD_OUT if any(row["split"] == name for row in rows)), None)
    return [
        {"name": row["model"], "l0": number(row["l0"][-1]), "fvu": number(row["fvu"][-1])}
        for row in rows
        if row["split"] == split
    ]
