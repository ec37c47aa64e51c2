"""Statistics of the train and select samples, which alone decide what is edited; effects are read on test."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.labels.classes import class_names
from biosae.errors import ArtefactError, DataError, SettingError

CHOOSING_PARTS = ("train", "select")


@dataclass(frozen=True, eq=False)
class Activity:
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

    def number_of(self, name: str, value: str) -> int:
        """Return the number of the group that the argument ``name`` asks for.

        Raises
        ------
        SettingError
            If it does not exist or has no choosing samples.
        """
        known = np.array(self.groups)[self.is_known].tolist()
        if value not in known:
            message = f"{name} must be a value of {self.key} ({', '.join(known)}), got {value}"
            raise SettingError(message, argument=f"steer.{name}")
        return self.groups.index(value)


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


def rows_of(table: anndata.AnnData, parts: tuple[str, ...]) -> np.ndarray:
    """Return the rows of the samples with tokens in the given parts.

    Raises
    ------
    DataError
        If there are none.
    """
    rows = np.flatnonzero(_has_tokens_in(table.obs, parts))
    if len(rows) == 0:
        raise DataError(f"no sample of the parts {', '.join(parts)} has a token; use more samples")
    return rows


def activity(table: anndata.AnnData) -> Activity:
    """Return firing frequencies and active scales from a feature table."""
    rows = rows_of(table, CHOOSING_PARTS)
    n_tokens = table.obs["biosae_n_tokens"].to_numpy(dtype=np.float64)[rows]
    n_active = np.asarray(table.layers["fraction_active"][rows].T @ n_tokens)
    total = np.asarray(table.layers["sum"][rows].sum(axis=0, dtype=np.float64)).ravel()
    mean = np.divide(total, n_active, out=np.full(len(total), np.nan), where=n_active > 0)
    return Activity(n_active / n_tokens.sum(), mean)


def group_means(table: anndata.AnnData, key: str, argument: str) -> GroupMeans:
    """Return the groups of a column of obs, with their mean activations on the choosing samples.

    Raises
    ------
    DataError
        As `check_groups`.
    ArtefactError
        If the table lacks the samples' mean activations.
    """
    check_groups(table.obs, key, argument)
    if "X_model" not in table.obsm:
        message = "features.h5ad lacks the samples' mean activations"
        raise ArtefactError(f"{message}; make it again with the features stage")
    text = class_names(table.obs[key])
    groups = sorted({name for name in text if name is not None})
    number = {name: n for n, name in enumerate(groups)}
    group = np.array([number.get(name, -1) for name in text], dtype=np.int64)
    mean = _token_means(table, group, len(groups), rows_of(table, CHOOSING_PARTS))
    everyone = _token_means(table, group, len(groups), np.arange(table.n_obs))
    return GroupMeans(key, groups, group, mean, np.where(np.isnan(mean), everyone, np.nan))


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


def difference(table: anndata.AnnData, key: str, control: str, treated: str) -> Difference:
    """Return the mean differences between the samples of two values of a column.

    Raises
    ------
    SettingError
        If a value does not exist or has no choosing samples.
    """
    conditions = group_means(table, key, "key")
    first, second = conditions.number_of("control", control), conditions.number_of("treated", treated)
    before, after = (_mean_codes(table, conditions.group == number) for number in (first, second))
    moved = conditions.mean[second] - conditions.mean[first]
    return Difference(after - before, moved, f"{key}: {control} to {treated}")


def _has_tokens_in(obs: pd.DataFrame, parts: tuple[str, ...]) -> pd.Series:
    return obs["biosae_part"].astype(str).isin(parts) & (obs["biosae_n_tokens"] > 0)


def _mean_codes(table: anndata.AnnData, is_member: np.ndarray) -> np.ndarray:
    rows = rows_of(table, CHOOSING_PARTS)
    rows = rows[is_member[rows]]
    total = sparse.csr_matrix(table.layers["sum"])[rows].sum(axis=0, dtype=np.float64)
    return np.asarray(total).ravel() / table.obs["biosae_n_tokens"].to_numpy()[rows].sum()


def _token_means(table: anndata.AnnData, group: np.ndarray, n_groups: int, rows: np.ndarray) -> np.ndarray:
    """Return the groups' means over rows, weighted by tokens; NaN for a group without any, ``(n_groups, d_in)``."""
    n_tokens = table.obs["biosae_n_tokens"].to_numpy(dtype=np.float64)
    rows = rows[(group[rows] >= 0) & (n_tokens[rows] > 0)]
    weight = np.zeros((n_groups, len(rows)))
    weight[group[rows], np.arange(len(rows))] = n_tokens[rows]
    total = weight.sum(axis=1, keepdims=True)
    summed = weight @ np.asarray(table.obsm["X_model"], dtype=np.float64)[rows]
    return np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0)
