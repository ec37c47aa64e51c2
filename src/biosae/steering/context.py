"""Everything that a sweep of edits works on: a model, the SAE of one of its layers, the samples that both read.

The train and select samples alone decide what is edited: their statistics are here. Effects are read on test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.labels.classes import class_names
from biosae.errors import ArtefactError, DataError, SettingError
from biosae.models.base import ModelAdapter
from biosae.models.tokens import TokenSequences
from biosae.saes.base import SAE

CHOOSING_PARTS = ("train", "select")


@dataclass(frozen=True, eq=False)
class Column:
    """A column of obs for some samples: its ``name``, and ``(n,)`` the group of each sample, None where missing."""

    name: str
    group: np.ndarray


@dataclass(frozen=True, eq=False)
class Firing:
    """Firing of every feature over the tokens of the choosing samples.

    Attributes
    ----------
    frequency
        ``(d_sae,)`` share of tokens where the feature is active.
    active_scale
        ``(d_sae,)`` mean code where it is active; NaN for a feature that never is.
    """

    frequency: np.ndarray
    active_scale: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """Features that fire at all."""
        return np.flatnonzero(self.frequency > 0)


@dataclass(frozen=True, eq=False)
class GroupMeans:
    """Mean activations of groups of samples (batches, conditions) at the layer.

    Attributes
    ----------
    key
        Column of obs.
    groups
        Its values, sorted.
    group
        ``(n_samples,) int64`` group of every sample; -1 where it is missing.
    mean
        ``(n_groups, d_in) float64`` mean over the tokens of the group's choosing samples; NaN for a group
        that has none there.
    unseen_mean
        ``(n_groups, d_in)`` mean over all tokens of a group without choosing samples; NaN for the others.
    """

    key: str
    groups: list[str]
    group: np.ndarray
    mean: np.ndarray
    unseen_mean: np.ndarray

    @property
    def is_known(self) -> np.ndarray:
        """``(n_groups,) bool``, true for groups with choosing samples."""
        return ~np.isnan(self.mean[:, 0])

    @property
    def grand_mean(self) -> np.ndarray:
        """``(d_in,)`` mean of the groups' means."""
        return self.mean[self.is_known].mean(axis=0)

    def directions(self) -> np.ndarray:
        """Return an orthonormal basis of the differences between group means, ``(d_in, n_known - 1)``."""
        difference = self.mean[self.is_known] - self.grand_mean
        _, size, basis = np.linalg.svd(difference, full_matrices=False)
        return basis[size > 1e-9 * size.max()].T

    def shift_to_common_mean(self) -> np.ndarray:
        """Return the grand mean minus the group's mean, ``(n_groups, d_in)``.

        A group that was held out whole is centred by the mean of its own samples: their labels, which are scored, are
        not read, but that they belong together is, as methods of integration do.
        """
        return self.grand_mean - np.where(self.is_known[:, None], self.mean, self.unseen_mean)


@dataclass(frozen=True, eq=False)
class Difference:
    """Mean differences of treated samples from control samples, over the tokens of the choosing samples.

    Attributes
    ----------
    codes
        ``(d_sae,)`` mean code of treated minus that of control.
    activation
        ``(d_in,)`` mean activation of treated minus that of control.
    between
        The column and the two values in words.
    """

    codes: np.ndarray
    activation: np.ndarray
    between: str


@dataclass(frozen=True, eq=False)
class SteeringContext:
    """Everything that a sweep of edits works on.

    Attributes
    ----------
    sequences
        The samples of ``table`` as the model's tokens, in the same order.
    table
        features.h5ad of the SAE.
    layer
        Counted from 0.
    folder
        The SAE's run: scores are read there, results are written there.
    cache
        Folder that keeps embeddings between sweeps, of this model, SAE, table and tokens alone.
    features_hash
        Content hash of features.h5ad.
    label_keys, batch_key
        Columns of obs.
    """

    adapter: ModelAdapter
    sae: SAE
    sequences: TokenSequences
    table: anndata.AnnData
    layer: int
    tokens_per_batch: int
    folder: Path
    cache: Path
    features_hash: str
    label_keys: tuple[str, ...]
    batch_key: str | None

    def rows(self, *parts: str) -> np.ndarray:
        """Return the rows of the samples with tokens in the given parts.

        Raises
        ------
        DataError
            If there are none.
        """
        rows = np.flatnonzero(_has_tokens_in(self.table.obs, parts))
        if len(rows) == 0:
            raise DataError(f"no sample of the parts {', '.join(parts)} has a token; use more samples")
        return rows

    def column(self, name: str | None, rows: np.ndarray) -> Column | None:
        """Return a column of obs for some rows; None where there is no such column to read."""
        return None if name is None else Column(name, class_names(self.table.obs[name])[rows])

    def companion_label(self, target: str | None) -> str | None:
        """Return the label that should survive while the groups of ``target`` are brought together."""
        return companion_label(self.table.obs, self.label_keys, self.batch_key, target)

    @cached_property
    def firing(self) -> Firing:
        """Firing frequencies and active scales."""
        rows = self.rows(*CHOOSING_PARTS)
        n_active = np.asarray(self.table.layers["fraction_active"][rows].T @ self._n_tokens[rows])
        total = np.asarray(self.table.layers["sum"][rows].sum(axis=0, dtype=np.float64)).ravel()
        mean = np.divide(total, n_active, out=np.full(len(total), np.nan), where=n_active > 0)
        return Firing(n_active / self._n_tokens[rows].sum(), mean)

    def group_means(self, key: str, argument: str) -> GroupMeans:
        """Return the groups of a column of obs, with their mean activations on the choosing samples.

        Raises
        ------
        DataError
            As `check_groups`.
        ArtefactError
            If the table lacks the samples' mean activations.
        """
        check_groups(self.table.obs, key, argument)
        if "X_model" not in self.table.obsm:
            message = "features.h5ad lacks the samples' mean activations"
            raise ArtefactError(f"{message}; make it again with the features stage")
        group, groups = pd.factorize(class_names(self.table.obs[key]), sort=True)  # a missing name is -1
        mean = self._token_means(group, len(groups), self.rows(*CHOOSING_PARTS))
        everyone = self._token_means(group, len(groups), np.arange(self.table.n_obs))
        return GroupMeans(key, groups.tolist(), group, mean, np.where(np.isnan(mean), everyone, np.nan))

    def difference(self, key: str, control: str, treated: str) -> Difference:
        """Return the mean differences between the samples of two values of a column.

        Raises
        ------
        SettingError
            If a value does not exist or has no choosing samples.
        """
        conditions = self.group_means(key, "key")
        known = np.array(conditions.groups)[conditions.is_known].tolist()
        for name, value in (("control", control), ("treated", treated)):
            if value not in known:
                message = f"{name} must be a value of {key} ({', '.join(known)}), got {value}"
                raise SettingError(message, argument=f"steer.{name}")
        first, second = conditions.groups.index(control), conditions.groups.index(treated)
        before, after = (self._mean_codes(conditions.group == number) for number in (first, second))
        moved = conditions.mean[second] - conditions.mean[first]
        return Difference(after - before, moved, f"{key}: {control} to {treated}")

    @property
    def _n_tokens(self) -> np.ndarray:
        return self.table.obs["biosae_n_tokens"].to_numpy(dtype=np.float64)

    def _mean_codes(self, is_member: np.ndarray) -> np.ndarray:
        rows = self.rows(*CHOOSING_PARTS)
        rows = rows[is_member[rows]]
        total = sparse.csr_matrix(self.table.layers["sum"])[rows].sum(axis=0, dtype=np.float64)
        return np.asarray(total).ravel() / self._n_tokens[rows].sum()

    def _token_means(self, group: np.ndarray, n_groups: int, rows: np.ndarray) -> np.ndarray:
        """Return the groups' means over rows, weighted by tokens; NaN for a group without any, ``(n_groups, d_in)``."""
        n_tokens = self._n_tokens
        rows = rows[(group[rows] >= 0) & (n_tokens[rows] > 0)]
        weight = np.where(group[rows] == np.arange(n_groups)[:, None], n_tokens[rows], 0.0)
        total = weight.sum(axis=1, keepdims=True)
        summed = weight @ np.asarray(self.table.obsm["X_model"], dtype=np.float64)[rows]
        return np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0)


def check_groups(obs: pd.DataFrame, key: str, argument: str) -> None:
    """Raise `DataError` unless the column exists and choosing samples with tokens have two of its values.

    Parameters
    ----------
    argument
        Name of the argument that gave the column: ``target`` or ``key``.
    """
    if key not in obs:
        known = ", ".join(map(str, obs.columns))
        message = f"{argument}: the features have no column {key}; they have {known}"
        raise DataError(message, argument=f"steer.{argument}")
    text = class_names(obs.loc[_has_tokens_in(obs, CHOOSING_PARTS), key])
    values = sorted({name for name in text if name is not None})
    if len(values) < 2:
        found = f"{key} has one value only among the train and select samples ({', '.join(values) or 'none'})"
        message = f"{argument} must be a column with two values or more; {found}, so nothing can be compared"
        raise DataError(message, argument=f"steer.{argument}")


def companion_label(
    obs: pd.DataFrame, label_keys: Sequence[str], batch_key: str | None, target: str | None = None
) -> str | None:
    """Return the first label, other than batch and target, that can be kept apart while batches are mixed.

    A label that is nested with the batch (a condition, a protocol, a donor) cannot. Columns that the samples lack are
    left for their readers to refuse.
    """
    free = (name for name in label_keys if name not in (batch_key, target))
    if batch_key not in obs:
        return next(free, None)
    batch = class_names(obs[batch_key])
    return next((name for name in free if name not in obs or not is_nested(class_names(obs[name]), batch)), None)


def is_nested(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether one column of names determines the other, over the samples that have both (None is missing)."""
    pairs = pd.DataFrame({"one": one, "other": other}).dropna().drop_duplicates()
    return not (pairs["one"].duplicated().any() and pairs["other"].duplicated().any())


def _has_tokens_in(obs: pd.DataFrame, parts: Sequence[str]) -> pd.Series:
    return obs["biosae_part"].astype(str).isin(parts) & (obs["biosae_n_tokens"] > 0)
