"""The split of samples: to train, to validate, to select on, to test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from biosae.errors import DataError, SettingError

PARTS = ("train", "validate", "select", "test")
MIN_OF_STRATUM = 3
"""Samples of a class that scores need on ``select`` and on ``test`` (biosae.analysis.labels.classes)."""

HELD_OUT_SHARES = {"validate": 0.2, "select": 0.4, "test": 0.4}
"""Shares of the held-out samples."""


@dataclass(frozen=True)
class Split:
    """The part that each sample belongs to.

    Attributes
    ----------
    part
        ``(n_samples,)`` categorical, one of `PARTS` each: the SAE learns from ``train``; ``validate`` watches
        it; thresholds, classes and features are chosen on ``select``; ``test`` is only reported on.
    group
        ``(n_samples,)`` categorical, the donor, batch or cluster that was kept whole, or None when single
        samples were drawn.
    group_key
        Column of obs that holds ``group``.
    seed
        Of the draw.
    """

    part: pd.Categorical
    group: pd.Categorical | None = None
    group_key: str | None = None
    seed: int | None = None

    def samples(self, *parts: str) -> np.ndarray:
        """Rows of the samples in the given parts, ascending."""
        return np.flatnonzero(np.isin(PARTS, parts)[self.part.codes])

    def sentence(self, what: str) -> str:
        """Return how large each part came out, such as ``split: train 80 (80 %), ...``."""
        sizes, n = self.sizes(), len(self.part)
        parts = ", ".join(f"{part} {size:,} ({size / n:.1%})" for part, size in sizes.items())
        return f"split of {n:,} {what}: {parts}"

    def sizes(self) -> dict[str, int]:
        return dict(zip(PARTS, np.bincount(self.part.codes, minlength=len(PARTS)).tolist(), strict=True))


def split_samples(
    n_samples: int,
    held_out: float,
    seed: int,
    strata: np.ndarray | pd.Categorical | None = None,
    shares: Mapping[str, float] = HELD_OUT_SHARES,
) -> Split:
    """Split samples one by one, in equal shares from every stratum (for example each cell type).

    ``shares`` are those of the parts among the held-out samples.

    Raises
    ------
    SettingError
        If ``held_out`` is not between 0 and 1 or leaves a part empty.
    """
    share = _shares(held_out, shares)
    generator = np.random.default_rng(seed)
    shuffled = order = generator.permutation(np.arange(n_samples, dtype=np.min_scalar_type(-n_samples)))
    if strata is not None:
        order = shuffled[np.argsort(pd.factorize(strata)[0][shuffled], kind="stable")]
    # Equally spaced quantiles along the strata, with a random start, give every stratum its share.
    start, borders = generator.random(), np.cumsum(share)[:-1]
    part = np.empty(n_samples, dtype=np.int8)
    for first in range(0, n_samples, _BLOCK):
        rows = order[first : first + _BLOCK]
        position = (np.arange(first, first + len(rows)) * _GOLDEN + start) % 1.0
        part[rows] = np.searchsorted(borders, position, side="right")
    return _checked(Split(_parts(_every_part_has_one(part, shuffled)), seed=seed))


def split_groups(
    group: np.ndarray,
    held_out: float,
    seed: int,
    group_key: str | None = None,
    shares: Mapping[str, float] = HELD_OUT_SHARES,
) -> Split:
    """Split by whole groups (donors, batches, homology clusters), never divided between parts.

    Groups are taken largest first, equal sizes in random order, and each goes to the part that
    lacks most samples.

    Raises
    ------
    DataError
        If a sample has no group or there are fewer groups than parts.
    """
    n_without = int(pd.isna(group).sum())
    if n_without:
        message = f"{n_without:,} of {len(group):,} samples have no {group_key or 'group'} to split by"
        raise DataError(f"{message}; fill them in, leave them out, or split by another column")
    names, member, size = np.unique(group.astype(str), return_inverse=True, return_counts=True)
    if len(names) < len(PARTS):
        message = f"splitting by group needs at least {len(PARTS)} groups, got {len(names)} ({', '.join(names)})"
        raise DataError(f"{message}; split by sample, which needs no groups")
    tie_break = np.random.default_rng(seed).permutation(len(names))
    lacking = _shares(held_out, shares) * len(group)
    part_of_group = np.empty(len(names), dtype=np.int8)
    unfilled = list(range(len(PARTS)))
    for n_taken, name in enumerate(np.lexsort((tie_break, -size))):
        must_fill = len(names) - n_taken <= len(unfilled)
        chosen = max(unfilled if must_fill else range(len(PARTS)), key=lambda p: lacking[p])
        unfilled = [part for part in unfilled if part != chosen]
        part_of_group[name] = chosen
        lacking[chosen] -= size[name]
    return _checked(Split(_parts(part_of_group[member]), pd.Categorical.from_codes(member, names), group_key, seed))


def all_held_out(n_samples: int) -> Split:
    """Return the split of samples that nothing is trained on."""
    return Split(_parts(np.full(n_samples, PARTS.index("test"), dtype=np.int8)))


def split_near_copies(
    group: np.ndarray,
    held_out: float,
    seed: int,
    strata: np.ndarray | pd.Series | None = None,
    shares: Mapping[str, float] = HELD_OUT_SHARES,
) -> Split:
    """Split samples so that groups of near copies stay whole and every stratum reaches every part.

    Groups are taken largest first, equal sizes in random order, and each goes to the part whose shares of its strata
    are filled least. A stratum of enough samples gets at least `MIN_OF_STRATUM` on ``select`` and on ``test``, so that
    it can be scored.

    Parameters
    ----------
    group
        ``(n_samples,)`` number of the group of each; most are of one sample.
    strata
        ``(n_samples,)`` a class of each, or missing.
    """
    n_samples, share = len(group), _shares(held_out, shares)
    stratum = np.zeros(n_samples, dtype=np.int64) if strata is None else pd.factorize(np.asarray(strata, object))[0] + 1
    n_of = np.bincount(stratum)
    wanted = share[:, None] * n_of
    enough = n_of >= MIN_OF_STRATUM / min(share[2:].min(), 0.2)
    wanted[2:] = np.where(enough & (strata is not None), np.maximum(wanted[2:], MIN_OF_STRATUM), wanted[2:])
    lacking = wanted.copy()
    _, member, size = np.unique(group, return_inverse=True, return_counts=True)
    order = np.lexsort((np.random.default_rng(seed).permutation(len(size)), -size))
    rows_of = np.split(np.argsort(member, kind="stable"), np.cumsum(size)[:-1])
    part = np.empty(n_samples, dtype=np.int8)
    for number in order.tolist():
        kinds = stratum[rows_of[number]]
        chosen = int(np.argmax((lacking[:, kinds] / wanted[:, kinds]).sum(axis=1)))
        part[rows_of[number]] = chosen
        np.subtract.at(lacking[chosen], kinds, 1)
    return _checked(Split(_parts(part), seed=seed))


def with_copies_together(split: Split, hashes: np.ndarray) -> tuple[Split, int]:
    """Return the split with identical samples in one part, and how many samples have an identical copy.

    Single samples that were drawn take the part of the first copy. Copies that stand in several groups take the
    earliest part of theirs in the order of `PARTS`, so that nothing that was held out is also learned from. A split of
    samples without copies is returned as it is.

    Parameters
    ----------
    hashes
        ``(n_samples,) uint64`` equal for identical samples; 0 for a sample that is never a copy.
    """
    in_order = np.sort(hashes)
    repeated = np.unique(in_order[1:][in_order[1:] == in_order[:-1]])
    repeated = repeated[repeated != 0]
    if len(repeated) == 0:
        return split, 0
    place = np.minimum(np.searchsorted(repeated, hashes), len(repeated) - 1)
    rows = np.flatnonzero(repeated[place] == hashes)
    part = split.part.codes.copy()
    of_copies = pd.Series(part[rows]).groupby(place[rows])
    part[rows] = of_copies.transform("first" if split.group is None else "min").to_numpy()
    return _checked(replace(split, part=_parts(part))), len(rows)


def _parts(code: np.ndarray) -> pd.Categorical:
    return pd.Categorical.from_codes(code, PARTS)


def _every_part_has_one(part: np.ndarray, shuffled: np.ndarray) -> np.ndarray:
    """The parts with one training sample given to each that rounding left empty, where there are enough."""
    for lacking in (code for code in range(1, len(PARTS)) if code not in part):
        spare = shuffled[part[shuffled] == 0]
        if len(spare) > 1:
            part[spare[0]] = lacking
    return part


_BLOCK = 1 << 16  # samples whose place is computed at a time, so that memory does not grow with all of them
_GOLDEN = (5**0.5 - 1) / 2  # steps of the golden ratio fill [0, 1) evenly at every length


def _shares(held_out: float, shares: Mapping[str, float]) -> np.ndarray:
    if not 0 < held_out < 1:
        raise SettingError(f"held_out must lie between 0 and 1, got {held_out}", argument="held_out")
    return np.array([1 - held_out] + [held_out * shares[part] for part in PARTS[1:]])


def _checked(split: Split) -> Split:
    empty = [part for part, size in split.sizes().items() if size == 0]
    if empty:
        message = f"{len(split.part)} samples are too few for this split: no sample left for {', '.join(empty)}; "
        raise SettingError(message + "use more samples or hold out another share")
    return split
