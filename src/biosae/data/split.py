"""Which samples are learned from, chosen on and reported on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae.errors import DataError, SettingError

PARTS = ("train", "validate", "select", "test")
HELD_OUT_SHARES = {"validate": 0.2, "select": 0.4, "test": 0.4}
"""How the held-out samples are divided: to watch training, to choose on, to report on."""


@dataclass(frozen=True)
class Split:
    """The part that each sample belongs to.

    Attributes
    ----------
    part
        ``(n_samples,)`` one of `PARTS` each: the SAE learns from ``train``; ``validate`` watches
        it; thresholds, classes and features are chosen on ``select``; ``test`` is only reported on.
    group
        ``(n_samples,)`` the donor, batch or cluster that was kept whole, or None when single
        samples were drawn.
    """

    part: np.ndarray
    group: np.ndarray | None = None

    def samples(self, *parts: str) -> np.ndarray:
        """Rows of the samples in the given parts, ascending."""
        return np.flatnonzero(np.isin(self.part, parts))

    def sizes(self) -> dict[str, int]:
        return {part: int((self.part == part).sum()) for part in PARTS}


def split_samples(n_samples: int, held_out: float, seed: int, strata: np.ndarray | None = None) -> Split:
    """Samples drawn one by one, in equal shares from every stratum (for example each cell type).

    Raises
    ------
    SettingError
        If ``held_out`` is not between 0 and 1 or leaves a part empty.
    """
    shares = _shares(held_out)
    generator = np.random.default_rng(seed)
    strata = np.zeros(n_samples, dtype=int) if strata is None else pd.factorize(strata)[0]
    shuffled = generator.permutation(n_samples)
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]
    # Equally spaced quantiles along the strata, with a random start, give every stratum its share.
    position = (np.arange(n_samples) * _GOLDEN + generator.random()) % 1.0
    part = np.empty(n_samples, dtype=object)
    part[order] = np.array(PARTS, dtype=object)[np.searchsorted(np.cumsum(shares)[:-1], position, side="right")]
    return _checked(Split(part.astype(str)))


def split_groups(group: np.ndarray, held_out: float, seed: int) -> Split:
    """Whole groups (donors, batches, homology clusters), never divided between parts.

    Groups are taken largest first, equal sizes in random order, and each goes to the part that
    lacks most samples.

    Raises
    ------
    DataError
        If a sample has no group or there are fewer groups than parts.
    """
    if pd.isna(group).any():
        raise DataError(f"{int(pd.isna(group).sum())} samples have no group to split by; fill or drop them first")
    names, member, size = np.unique(group.astype(str), return_inverse=True, return_counts=True)
    if len(names) < len(PARTS):
        message = f"splitting by group needs at least {len(PARTS)} groups, got {len(names)} ({', '.join(names)}); "
        raise DataError(message + "leave data.split.group_key empty to split by sample")
    tie_break = np.random.default_rng(seed).permutation(len(names))
    lacking = _shares(held_out) * len(group)
    part_of_group = np.empty(len(names), dtype=object)
    for n_taken, name in enumerate(np.lexsort((tie_break, -size))):
        unfilled = [p for p in range(len(PARTS)) if PARTS[p] not in part_of_group[part_of_group != None]]  # noqa: E711
        must_fill = len(names) - n_taken <= len(unfilled)
        chosen = max(unfilled if must_fill else range(len(PARTS)), key=lambda p: lacking[p])
        part_of_group[name] = PARTS[chosen]
        lacking[chosen] -= size[name]
    return _checked(Split(part_of_group[member].astype(str), group.astype(str)))


_GOLDEN = (5**0.5 - 1) / 2  # steps of the golden ratio fill [0, 1) evenly at every length


def _shares(held_out: float) -> np.ndarray:
    if not 0 < held_out < 1:
        raise SettingError(f"data.preprocess.split, the held-out share, must lie between 0 and 1, got {held_out}")
    return np.array([1 - held_out] + [held_out * share for share in HELD_OUT_SHARES.values()])


def _checked(split: Split) -> Split:
    empty = [part for part, size in split.sizes().items() if size == 0]
    if empty:
        message = f"{len(split.part)} samples are too few for this split: no sample left for {', '.join(empty)}; "
        raise SettingError(message + "use more samples or another data.preprocess.split")
    return split
