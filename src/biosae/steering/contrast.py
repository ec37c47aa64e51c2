"""How groups of samples (batches, classes) differ at the layer: the directions that baselines edit along."""

from __future__ import annotations

from dataclasses import dataclass

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import class_names
from biosae.errors import ArtefactError, DataError

from .activity import CHOOSING_PARTS, choosing_rows


@dataclass(frozen=True, eq=False)
class Contrast:
    """Mean activations of groups of samples at the layer.

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
    grand_mean
        ``(d_in,)`` mean of the groups' means.
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
        return self.mean[self.is_known].mean(axis=0)

    def directions(self) -> np.ndarray:
        """``(d_in, n_known - 1)`` orthonormal basis of the differences between group means."""
        difference = self.mean[self.is_known] - self.grand_mean
        _, size, basis = np.linalg.svd(difference, full_matrices=False)
        return basis[size > 1e-9 * size.max()].T

    def shift_to_common_mean(self) -> np.ndarray:
        """``(n_groups, d_in)`` grand mean minus the group's.

        A group that was held out whole is centred by the mean of its own samples: what they are scored for (their
        labels) is not read, but that they belong together is, as methods of integration do.
        """
        return self.grand_mean - np.where(self.is_known[:, None], self.mean, self.unseen_mean)


def contrast(table: anndata.AnnData, key: str, setting: str) -> Contrast:
    """The groups of a column of obs, with their mean activations on the choosing samples.

    Raises
    ------
    DataError
        If the column is missing or has fewer than two values among the choosing samples.
    ArtefactError
        If the table lacks the samples' mean activations.
    """
    check_groups(table.obs, key, setting)
    if "X_model" not in table.obsm:
        raise ArtefactError("features.h5ad lacks the samples' mean activations; make it again with `biosae features`")
    text = class_names(table.obs[key])
    groups = sorted({name for name in text if name is not None})
    number = {name: n for n, name in enumerate(groups)}
    group = np.array([number.get(name, -1) for name in text], dtype=np.int64)
    mean = _token_means(table, group, len(groups), choosing_rows(table))
    everyone = _token_means(table, group, len(groups), np.arange(table.n_obs))
    return Contrast(key, groups, group, mean, np.where(np.isnan(mean), everyone, np.nan))


def check_groups(obs: pd.DataFrame, key: str, setting: str) -> None:
    """Raises `DataError` unless the column exists and choosing samples with tokens have two of its values."""
    if key not in obs:
        known = ", ".join(map(str, obs.columns))
        raise DataError(f"{setting}: the features have no column {key}; they have {known}")
    chosen = obs["biosae_part"].astype(str).isin(CHOOSING_PARTS) & (obs["biosae_n_tokens"] > 0)
    values = sorted({name for name in class_names(obs.loc[chosen, key]) if name is not None})
    if len(values) < 2:
        message = f"{key} has one value only among the train and select samples ({', '.join(values) or 'none'})"
        raise DataError(f"{message}, so nothing can be compared; set {setting} to a column with two or more")


def _token_means(table: anndata.AnnData, group: np.ndarray, n_groups: int, rows: np.ndarray) -> np.ndarray:
    """``(n_groups, d_in)`` the rows' means weighted by their numbers of tokens; NaN for a group without any."""
    n_tokens = table.obs["biosae_n_tokens"].to_numpy(dtype=np.float64)
    rows = rows[(group[rows] >= 0) & (n_tokens[rows] > 0)]
    weight = np.zeros((n_groups, len(rows)))
    weight[group[rows], np.arange(len(rows))] = n_tokens[rows]
    total = weight.sum(axis=1, keepdims=True)
    summed = weight @ np.asarray(table.obsm["X_model"], dtype=np.float64)[rows]
    return np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0)
