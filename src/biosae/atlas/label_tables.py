"""Scores of every feature for every class, and the features that mark a class best."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import precision_recall_points

from .page_data import packed
from .run_folder import RunFolder

MOST_FEATURES_PER_CLASS = 200
METRICS = ("auroc_select", "auroc", "auroc_low", "auroc_high", "average_precision", "f1", "threshold")


class LabelTables:
    """tables/labels.csv as one ``(d_sae, n_classes)`` matrix a metric and label column.

    Attributes
    ----------
    keys
        The label columns of the table.
    classes
        Their classes, in the order of the matrices' columns.
    """

    def __init__(self, run: RunFolder):
        self._run = run
        table = run.labels if run.labels is not None else pd.DataFrame({"label": [], "class": []})
        known = list(dict.fromkeys(table["label"]))
        self.keys: list[str] = sorted(known, key=lambda key: key == run.settings["data"].get("batch_key"))
        self.classes = {key: sorted(set(table.loc[table["label"] == key, "class"])) for key in self.keys}
        self._matrices = {key: self._matrix(table[table["label"] == key], key) for key in self.keys}

    def _matrix(self, rows: pd.DataFrame, key: str) -> dict[str, np.ndarray]:
        column = pd.Index(self.classes[key]).get_indexer(rows["class"])
        out = {}
        for metric in (name for name in METRICS if name in rows.columns):
            out[metric] = np.full((self._run.d_sae, len(self.classes[key])), np.nan, dtype=np.float32)
            out[metric][rows["feature"], column] = rows[metric]
        return out

    def content(self) -> list[dict[str, Any]]:
        """The label columns and their classes, with the number of test samples of each."""
        return [{"key": key, "classes": self.classes[key], "n_test": self._n_test(key)} for key in self.keys]

    def _n_test(self, key: str) -> list[int]:
        table = self._run.labels
        rows = table[table["label"] == key].drop_duplicates("class").set_index("class")["n_positive_test"]
        return [int(rows[name]) for name in self.classes[key]]

    def of_features(self, first: int, last: int) -> list[dict[str, Any]]:
        """The matrices of the features ``first`` to ``last - 1``, in the order of ``keys``."""
        return [
            {metric: packed(matrix[first:last], "f4") for metric, matrix in self._matrices[key].items()}
            for key in self.keys
        ]

    def shards(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and content of one shard per label column: the features of every class, best first.

        The order is that of the select samples; the scores shown are those of the test samples.
        """
        for number_, key in enumerate(self.keys):
            yield f"labels-{number_}", {"classes": [self._of_class(key, j) for j in range(len(self.classes[key]))]}

    def _of_class(self, key: str, column: int) -> dict[str, Any]:
        matrices = {metric: matrix[:, column] for metric, matrix in self._matrices[key].items()}
        selected = matrices["auroc_select"]
        order = np.argsort(-np.nan_to_num(selected, nan=-np.inf), kind="stable")[:MOST_FEATURES_PER_CLASS]
        order = order[~np.isnan(selected[order])]
        content = {"feature": packed(order, "u4")} | {m: packed(v[order], "f4") for m, v in matrices.items()}
        if len(order):
            content["curve"] = precision_recall_points(self._run.table, int(order[0]), key, self.classes[key][column])
        return content
