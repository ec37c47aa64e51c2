"""`biosae encode` of cells: new cells, the features of a run, its classes and thresholds."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from biosae.errors import SettingError
from biosae.pipeline.encode_others import encode_file
from biosae.pipeline.transfer import TRANSFER
from biosae.progress import results

from .launch import log_to_console

SHOWN = ["label", "class", "feature", "n_positive", "auroc", "null_auroc", "f1"]


def encode_cells(given: dict[str, str]) -> None:
    """Encode a file of cells, and print how the features of the run do on them."""
    run, out = Path(given["run"]), Path(given.get("out", "encoded"))
    if wrong := set(given) - {"run", "data.path", "out"}:
        raise SettingError(f"{min(wrong)}= is for proteins, and {run} has an SAE of cells; give data.path=FILE")
    log_to_console()
    features = encode_file(run, given["data.path"], out)
    if (out / TRANSFER).exists():
        table = pd.read_csv(out / TRANSFER)[SHOWN]
        results.print("features of the run on these cells, with its classes and thresholds:", highlight=False)
        results.print(table.to_string(index=False, float_format="%.2f"), highlight=False, soft_wrap=True)
    results.print(f"features in {features}", highlight=False, soft_wrap=True)
