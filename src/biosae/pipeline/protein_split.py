"""The split of proteins: clusters of a file, near copies and identical ones stay whole, labels reach every part."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae.data.annotations import FEATURES
from biosae.data.copies import hashes_of_sequences
from biosae.data.near_copies import near_copies
from biosae.data.obs import check_column
from biosae.data.split import PARTS, Split, split_groups, split_near_copies, split_samples, with_copies_together
from biosae.errors import SettingError
from biosae.runs.data_settings import ProteinSplit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copies:
    """Proteins that are equal or nearly equal.

    Attributes
    ----------
    hashes
        ``(n,) uint64``, equal for identical proteins.
    near
        ``(n,)`` number of the group of near copies of each; None where sequences are not known or it is not asked for.
    """

    hashes: np.ndarray
    near: np.ndarray | None = None


def copies_of(sequences: Sequence[str], shared: float | None) -> Copies:
    """Return identical sequences, and those that share a part of their k-mers."""
    if shared is None:
        return Copies(hashes_of_sequences(sequences))
    if not 0 < shared <= 1:
        message = f"near_copies must lie above 0 and be at most 1, or be empty, got {shared}"
        raise SettingError(message, argument="split.near_copies")
    return Copies(hashes_of_sequences(sequences), near_copies(sequences, shared))


def split_proteins(
    settings: ProteinSplit, obs: pd.DataFrame, label_keys: list[str], copies: Copies, seed: int
) -> Split:
    """Split proteins by the clusters of a file, else by near copies, with the values of a label in every part."""
    held_out, shares = _held_out(settings)
    if settings.groups is not None:
        split = split_groups(obs["cluster"].to_numpy(), held_out, seed, "cluster", shares)
        return copies_together(split, copies.hashes, "proteins")
    strata = _strata(settings, obs, label_keys)
    near = copies.near
    if near is not None and len(set(near.tolist())) < len(near):
        _, size = np.unique(near, return_counts=True)
        what = f"{int(size[size > 1].sum()):,} proteins have a near copy; the largest of {len(size):,} groups has"
        if size.max() <= len(near) // 2:
            logger.info("%s %s, and groups stay in one part of the split", what, f"{size.max():,}")
            return split_near_copies(near, held_out, seed, strata, shares)
        message = "%s %s, too many for one part: near copies stand in several parts; give clusters as split.groups"
        logger.warning(message, what, f"{size.max():,}")
    _, group = np.unique(copies.hashes, return_inverse=True)
    if strata is not None and (copies.hashes != 0).all():
        size = np.bincount(group)
        _say_copies(int(size[size > 1].sum()), "proteins")
        return split_near_copies(group, held_out, seed, strata, shares)
    return copies_together(split_samples(len(obs), held_out, seed, shares=shares), copies.hashes, "proteins")


def _strata(settings: ProteinSplit, obs: pd.DataFrame, label_keys: list[str]) -> pd.Series | None:
    """The column whose values are spread over the parts."""
    if settings.stratify is not None:
        check_column(obs, settings.stratify, "split.stratify")
        return obs[settings.stratify]
    usable = [key for key in label_keys if key != FEATURES]
    return obs[usable[0]] if usable else None


def _held_out(split: ProteinSplit) -> tuple[float, dict[str, float]]:
    """Return the held-out share of the proteins, and how the parts divide it."""
    shares = {part: getattr(split, part) for part in PARTS[1:]}
    total = sum(shares.values())
    if not all(share > 0 for share in shares.values()) or total >= 1:
        given = ", ".join(f"{part}={share}" for part, share in shares.items())
        message = f"held-out shares of the split must be above 0 and leave some to train on, got {given}"
        raise SettingError(message, argument="split")
    return total, {part: share / total for part, share in shares.items()}


def copies_together(split: Split, hashes: np.ndarray, what: str) -> Split:
    split, n_copies = with_copies_together(split, hashes)
    _say_copies(n_copies, what)
    return split


def _say_copies(n_copies: int, what: str) -> None:
    if n_copies:
        logger.info("%s %s have an identical copy; copies stay in one part of the split", f"{n_copies:,}", what)
