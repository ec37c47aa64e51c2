"""Tables of scores with intervals: per setting, per arm, and the SAE's features less every other arm."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .chosen_cells import ScoredCells
from .jackknife import interval
from .label_transfer import METRICS as TRANSFER
from .label_transfer import transfer_to_each
from .scores import Scores, family_of

ORIGINAL = "original"
ARM = ("method", "chooser", "n_features", "operation", "value", "unit", "where", "error")
SUMMARISED = ("bio_conservation", "batch_correction", "total", "transfer_accuracy", "transfer_macro_f1")
"""Metrics that stand in the summary with their intervals; the others stand there as numbers only."""
VERSUS = ("chooser", "n_features", "operation", "value", "versus", "n_seeds", "metric", "difference", "low", "high")


def long_table(scores: Scores, settings: pd.DataFrame, n_samples: int, n_transferable: int) -> pd.DataFrame:
    """Return one row per setting and metric; ``difference`` is to the unedited model, on the same halves.

    Parameters
    ----------
    settings
        One row per embedding: ``key``, ``label``, ``seed`` and the columns `ARM`.
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
    """Return one row per arm (settings that differ by their seed alone), with means over seeds."""
    rows = []
    for arm, keys in _arms(settings):
        found = intervals_of(scores, keys)
        row = {**arm, "n_seeds": len(keys), "n_samples": n_samples}
        for number, metric in enumerate(scores.metrics):
            row[metric] = found["estimate"][number]
            if metric in SUMMARISED:
                others = ("low", "high", "difference", "difference_low", "difference_high")
                row |= {f"{metric}_{name}": found[name][number] for name in others}
        rows.append(row)
    return pd.DataFrame(rows)


def transfer_table(
    embeddings: Mapping[str, np.ndarray], settings: pd.DataFrame, cells: ScoredCells, n_neighbours: int
) -> pd.DataFrame:
    """Return one row per embedding and left-out batch, which shows how far scores differ between batches."""
    described = settings.set_index("key")[["method", "n_features", "operation", "value", "seed"]]
    rows = []
    for key, embedding in embeddings.items():
        found = transfer_to_each(embedding, cells.batch, cells.label, n_neighbours)
        rows += [(key, *described.loc[key], *row) for row in found]
    columns = ["key", *described, "batch", "n_samples", *TRANSFER]
    return pd.DataFrame(rows, columns=columns).astype({"n_features": "Int64", "seed": "Int64"})


def versus_table(scores: Scores, settings: pd.DataFrame) -> pd.DataFrame:
    """Return one row per edit of the SAE's chosen features, other arm and metric: the advantage of the SAE's features.

    Other arms edit as many features by as much, or none. ``difference`` is paired: both
    were scored on the same halves. Above 0 the SAE's features are better; an interval that holds 0 leaves it open.
    """
    rows, arms = [], _arms(settings)
    for chosen, keys in (pair for pair in arms if pair[0]["method"] == "sae"):
        for arm, others in (pair for pair in arms if _stands_beside(pair[0], chosen)):
            same = *(chosen[name] for name in VERSUS[:4]), arm["method"], len(others)
            found = dict(zip(scores.metrics, zip(*paired_difference(scores, keys, others), strict=True), strict=True))
            rows += [(*same, metric, *found[metric]) for metric in SUMMARISED]
    return pd.DataFrame(rows, columns=list(VERSUS))


def _arms(settings: pd.DataFrame) -> list[tuple[dict, list[str]]]:
    """Return the columns `ARM` of each arm, and the keys of its settings, which differ by their seed alone."""
    keys = settings.groupby(list(ARM), sort=False, dropna=False)["key"]
    return [(dict(zip(ARM, arm, strict=True)), list(members)) for arm, members in keys]


def _stands_beside(arm: dict, chosen: dict) -> bool:
    is_same = pd.isna(arm["n_features"]) or all(arm[name] == chosen[name] for name in ("n_features", "value"))
    return arm["method"] != "sae" and is_same


def intervals_of(scores: Scores, keys: list[str]) -> dict[str, np.ndarray]:
    """Return ``estimate``, ``low``, ``high`` and those of the ``difference`` to the original, each ``(n_metrics,)``.

    Several keys are the seeds of one arm: estimates are means over them. Intervals of scores end where scores do.
    """
    whole = np.stack([scores.whole[key] for key in keys])  # (n_seeds, n_metrics)
    halves = np.mean([scores.halves[key] for key in keys], axis=0)  # (n_halves, n_metrics)
    found = {"estimate": whole.mean(axis=0)}
    found["low"], found["high"] = np.clip(interval(found["estimate"], halves, scores.share, whole), 0, 1)
    names = ("difference", "difference_low", "difference_high")
    return found | dict(zip(names, paired_difference(scores, keys, [ORIGINAL]), strict=True))


def paired_difference(scores: Scores, keys: list[str], others: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean over seeds of one arm less another, and the ends of its interval, each ``(n_metrics,)``.

    Only one of the two may have several seeds.
    """
    whole = np.stack([scores.whole[k] - scores.whole[o] for k in keys for o in others])  # (n_seeds, n_metrics)
    halves = np.mean([scores.halves[k] - scores.halves[o] for k in keys for o in others], axis=0)
    difference = whole.mean(axis=0)
    return difference, *interval(difference, halves, scores.share, whole)
