"""What benchmarks show and leave: rows of numbers under the names of their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def write(rows: Iterable[Mapping], columns: Sequence[str], path: Path) -> None:
    """A CSV file; what is not in the columns is left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def show(row: Mapping, columns: Sequence[str]) -> None:
    """One line on the screen, at once."""
    print("  ".join(f"{name}={_shown(row[name])}" for name in columns), flush=True)


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
