"""The samples that an integration benchmark scores, and those that it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import class_names
from biosae.errors import ArtefactError, DataError, SettingError

from .benchmark_plan import UNSEEN, BenchmarkPlan

MIN_CELLS = 200  # half of them must hold the 90 neighbours of LISI
MIN_PER_LABEL = 10


@dataclass(frozen=True, eq=False)
class ScoredCells:
    """The samples to score.

    Attributes
    ----------
    rows
        ``(n,)`` rows of steered.h5ad, ascending.
    batch, label
        ``(n,)`` text.
    n_available
        Samples that could have been scored before ``max_cells`` was applied.
    left_out
        Labels that are not scored, with reason.
    """

    rows: np.ndarray
    batch: np.ndarray
    label: np.ndarray
    n_available: int
    left_out: dict[str, str]

    @property
    def stratum(self) -> np.ndarray:
        """``(n,) int`` batch and label of each sample as one number."""
        return pd.MultiIndex.from_arrays([self.batch, self.label]).factorize(sort=True)[0]

    @property
    def labels_in_one_batch(self) -> list[str]:
        """Labels of a single batch: nothing can be mixed there, and no label transferred."""
        batches = pd.Series(self.batch).groupby(self.label).nunique()
        return batches.index[batches == 1].tolist()

    @property
    def n_transferable(self) -> int:
        """Samples whose label another batch has too."""
        return int((~np.isin(self.label, self.labels_in_one_batch)).sum())


def scored_cells(obs: pd.DataFrame, embedded: np.ndarray, plan: BenchmarkPlan) -> ScoredCells:
    """Return embedded samples of the plan's parts with batch and label; ``max_cells`` drawn within batch x label.

    Parameters
    ----------
    embedded
        ``(n_obs,) bool`` samples that steered.h5ad has embeddings of.

    Raises
    ------
    BiosaeError
        If a column does not exist, the parts chose features, or too few batches, labels or samples are left.
    """
    check_columns(obs, plan.batch_key, plan.label_key)
    in_parts = _in_unseen_parts(obs, plan.parts)
    if not (in_parts & embedded).any():
        message = f"steered.h5ad has no embedding of a sample of the parts {', '.join(plan.parts)}"
        raise ArtefactError(f"{message}; run the steer stage with these parts", argument="steer.parts")
    batch, label = class_names(obs[plan.batch_key]), class_names(obs[plan.label_key])
    kept = in_parts & embedded & (batch != None) & (label != None)  # noqa: E711, elementwise
    counts = pd.Series(label[kept]).value_counts()
    rare = counts[counts < MIN_PER_LABEL].sort_index()
    left_out = {name: f"{n} scored samples, fewer than {MIN_PER_LABEL}" for name, n in rare.items()}
    kept &= ~np.isin(label, list(left_out))
    _check_enough(kept, batch, label, plan)
    rows = np.flatnonzero(kept)
    drawn = rows[draw_within(np.char.add(batch[rows].astype(str), label[rows].astype(str)), plan.max_cells, plan.seed)]
    return ScoredCells(drawn, batch[drawn].astype(str), label[drawn].astype(str), len(rows), left_out)


def check_columns(obs: pd.DataFrame, batch_key: str, label_key: str) -> None:
    """Raise `DataError` for a column that does not exist."""
    for argument, key in (("batch_key", batch_key), ("label_key", label_key)):
        if key not in obs:
            known = ", ".join(name for name in obs.columns if not name.startswith("biosae_"))
            message = f"{argument}={key} is not a column of the samples; they have {known}"
            raise DataError(message, argument=f"benchmark.{argument}")
    if batch_key == label_key:
        message = f"label_key must be another column than the batch, got {batch_key} twice"
        raise SettingError(message, argument="benchmark.label_key")


def draw_within(stratum: np.ndarray, n_wanted: int, seed: int) -> np.ndarray:
    """Draw at most ``n_wanted`` samples, the same share of every stratum and at least one; sorted places."""
    if len(stratum) <= n_wanted:
        return np.arange(len(stratum))
    generator = np.random.default_rng(seed)
    drawn = []
    for name in np.unique(stratum):
        members = np.flatnonzero(stratum == name)
        n = max(1, int(len(members) * n_wanted / len(stratum)))
        drawn.append(generator.choice(members, n, replace=False))
    return np.sort(np.concatenate(drawn))


def _in_unseen_parts(obs: pd.DataFrame, parts: Sequence[str]) -> np.ndarray:
    seen = [part for part in parts if part not in UNSEEN]
    if seen or not parts:
        message = f"parts takes {' and '.join(UNSEEN)}, got {', '.join(parts) or 'none'}"
        reason = "features were chosen, and baselines fitted, on train and select"
        raise SettingError(f"{message}; {reason}", argument="benchmark.parts")
    return obs["biosae_part"].astype(str).isin(list(parts)).to_numpy()


def _check_enough(kept: np.ndarray, batch: np.ndarray, label: np.ndarray, plan: BenchmarkPlan) -> None:
    n = int(kept.sum())
    for argument, values in (("batch_key", batch), ("label_key", label)):
        found = sorted(set(values[kept]))
        if n and len(found) < 2:
            key = getattr(plan, argument)
            message = f"{argument}={key} needs two values at least, the {n} scored samples have one: {found[0]}"
            message = f"{message}; take another column or hold out samples of several"
            raise DataError(message, argument=f"benchmark.{argument}")
    if n < MIN_CELLS:
        message = f"integration scores need {MIN_CELLS} samples with batch and label, got {n}"
        message = f"{message}; use more data, a larger split, or both parts, validate and test"
        raise DataError(message, argument="benchmark.parts")
