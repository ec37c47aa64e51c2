"""Variants that were trained beside the one of the run: comparison.csv of `biosae compare`."""

from __future__ import annotations

from typing import Any

from .run import Run, optional_csv

QUANTITIES = ("loss", "nmse", "fvu", "l0", "dead_fraction")


def comparison(run: Run) -> list[dict[str, Any]] | None:
    """One entry a model and split, ``epochs`` and a list a quantity; None when the run is of no comparison.

    The run folders of a comparison lie inside its own, beside comparison.csv.
    """
    table = optional_csv(run.folder.parent / "comparison.csv", "biosae compare")
    if table is None:
        return None
    names = [name for name in QUANTITIES if name in table.columns]
    return [
        {"model": model, "split": split, "epochs": rows["epoch"].tolist()}
        | {name: rows[name].astype(object).where(rows[name].notna(), None).tolist() for name in names}
        for (model, split), rows in table.sort_values("step", kind="stable").groupby(["model", "split"], sort=False)
    ]
