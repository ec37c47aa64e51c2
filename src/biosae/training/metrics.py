"""The table of a run's metrics."""

from __future__ import annotations

import csv
from pathlib import Path

from biosae.artefacts import atomic_write

LEADING = ("step", "tokens", "split", "loss", "reconstruction")


def write_metrics(path: Path, rows: list[dict]) -> None:
    """Write metrics.csv: one row per evaluation and split; a missing value is an empty cell."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [*LEADING, *(name for name in names if name not in LEADING)]
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
