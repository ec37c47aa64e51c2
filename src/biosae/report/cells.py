"""The cells (or proteins) as the page knows them: names, categories and their place on the map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .layout import CellMap
from .run_folder import RunFolder
from .shards import packed

MOST_CATEGORIES = 60  # more colours and rows than that tell nothing


def cells(run: RunFolder, shown: CellMap | None) -> dict[str, Any]:
    """Names and categories of all samples, and the map of those it shows."""
    obs = run.table.obs
    content: dict[str, Any] = {
        "names": obs.index.astype(str).tolist(),
        "columns": [_categories(name, obs[name]) for name in _columns(run)],
    }
    if shown is not None:
        content["map"] = {"method": shown.method, "sample": packed(shown.sample, "u4")} | _positions(shown.position)
    return content


def _columns(run: RunFolder) -> list[str]:
    data = run.settings["data"]
    wanted = [*run.label_keys, *(data.get("label_keys") or []), data.get("batch_key"), "biosae_part"]
    obs = run.table.obs
    return [name for name in dict.fromkeys(wanted) if name in obs and obs[name].nunique() <= MOST_CATEGORIES]


def _categories(name: str, values: pd.Series) -> dict[str, Any]:
    codes, categories = pd.factorize(values.astype(object), sort=False)
    order = np.argsort([str(category) for category in categories])
    rank = np.empty(len(order) + 1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = 255  # a missing value
    return {
        "name": name,
        "categories": [str(categories[i]) for i in order],
        "values": packed(rank[codes], "u1"),
    }


def _positions(position: np.ndarray) -> dict[str, Any]:
    """The map scaled into a square of 65,536 steps, its shape kept."""
    low = position.min(axis=0)
    extent = float((position.max(axis=0) - low).max()) or 1.0
    steps = np.round((position - low) / extent * 65535)
    return {"x": packed(steps[:, 0], "u2"), "y": packed(steps[:, 1], "u2")}
