"""integration.csv and integration_summary.csv: scores with intervals, a row a setting, and a row an arm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .halves import interval
from .scores import Scores, family_of

ORIGINAL = "original"
ARM = ("method", "chooser", "n_features", "operation", "value", "unit", "where", "error")
SUMMARISED = ("bio_conservation", "batch_correction", "total", "transfer_accuracy", "transfer_macro_f1")
"""Metrics that stand in the summary with their intervals; the others stand there as numbers only."""


def long_table(scores: Scores, settings: pd.DataFrame, n_samples: int, n_transferable: int) -> pd.DataFrame:
    """One row a setting and metric; ``difference`` is to the unedited model, on the same halves.

    Parameters
    ----------
    settings
        One row an embedding: ``key``, ``label``, ``seed`` and the columns `ARM`.
    n_transferable
        Samples that label transfer scores.
    """
    families = [family_of(metric) for metric in scores.metrics]
    n = [n_transferable if family == "label_transfer" else n_samples for family in families]
    described = settings[["key", "method", "label", "chooser", "n_features", "operation", "value", "seed"]]
    tables = []
    for number, key in enumerate(settings["key"]):
        table = pd.DataFrame({"family": families, "metric": scores.metrics})
        table = table.assign(**intervals_of(scores, [key]), n_samples=n)
        tables.append(described.iloc[[number]].merge(table, how="cross"))
    return pd.concat(tables, ignore_index=True)


def summary_table(scores: Scores, settings: pd.DataFrame, n_samples: int) -> pd.DataFrame:
    """One row an arm, the settings that differ by their seed alone, with means over seeds."""
    rows = []
    for arm, members in settings.groupby(list(ARM), sort=False, dropna=False):
        found = intervals_of(scores, list(members["key"]))
        row = dict(zip(ARM, arm, strict=True)) | {"n_seeds": len(members), "n_samples": n_samples}
        for number, metric in enumerate(scores.metrics):
            row[metric] = found["estimate"][number]
            if metric in SUMMARISED:
                others = ("low", "high", "difference", "difference_low", "difference_high")
                row |= {f"{metric}_{name}": found[name][number] for name in others}
        rows.append(row)
    return pd.DataFrame(rows)


def intervals_of(scores: Scores, keys: list[str]) -> dict[str, np.ndarray]:
    """``estimate``, ``low``, ``high`` and the same of the ``difference`` to the original, each ``(n_metrics,)``.

    Several keys are the seeds of one arm: estimates are means over them.
    """
    whole = np.stack([scores.whole[key] for key in keys])  # (n_seeds, n_metrics)
    halves = np.mean([scores.halves[key] for key in keys], axis=0)  # (n_halves, n_metrics)
    found = {"estimate": whole.mean(axis=0)}
    found["low"], found["high"] = interval(found["estimate"], halves, scores.share, whole)
    moved = whole - scores.whole[ORIGINAL]
    found["difference"] = moved.mean(axis=0)
    ends = interval(found["difference"], halves - scores.halves[ORIGINAL], scores.share, moved)
    found["difference_low"], found["difference_high"] = ends
    return found
