"""Effects of a sweep on embeddings: distances that samples move, gaps left between groups, labels that survive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from biosae.analysis.stats.intervals import resample_weights
from biosae.progress import progress_bar

from .context import Column, SteeringContext
from .embed import ORIGINAL, SteeredSamples
from .plan import SteeringPlan

N_NEIGHBOURS = 15
MIN_PER_GROUP = 5  # samples that a group needs for numbers of its own
MAX_REFERENCE = 5000  # unedited samples that neighbours are looked for among
COLUMNS = ("group_by", "group", "metric", "estimate", "low", "high", "n_samples")


@dataclass(frozen=True, eq=False)
class Subjects:
    """The samples that effects are read on.

    Attributes
    ----------
    original
        ``(n, d)`` unedited embeddings.
    target, label
        Groups that steering should bring together, and those that it should leave apart.
    donor
        Donors or batches.
    weights
        ``(n, n_resamples)`` number of times that each resample draws each sample.
    """

    original: np.ndarray
    target: Column | None
    label: Column | None
    donor: Column | None
    weights: np.ndarray

    @classmethod
    def of(
        cls, original: np.ndarray, target: Column | None, label: Column | None, donor: Column | None, seed: int
    ) -> Subjects:
        """Draw the resamples: of whole donors where there are enough, unless their gap is what counts."""
        # Resampling whole batches would lose some of the very groups whose distance is measured.
        is_target = donor is None or (target is not None and donor.name == target.name)
        unit = None if is_target else donor.group.astype(str)
        weights = resample_weights(unit, len(original), np.random.default_rng(seed))
        return cls(original.astype(np.float64), target, label, donor, weights)


def sweep_effects(context: SteeringContext, plan: SteeringPlan, steered: SteeredSamples) -> pd.DataFrame:
    """Return the `effects` of every setting on the test samples."""
    part = context.table.obs["biosae_part"].astype(str).to_numpy()
    is_test = part[steered.edited.samples] == "test"
    rows = steered.edited.samples[is_test]
    names = (plan.target, context.companion_label(plan.target), context.batch_key)
    columns = (context.column(name, rows) for name in names)
    subjects = Subjects.of(steered.of(ORIGINAL)[is_test], *columns, plan.seed)
    edited = ((key, steered.of(key)[is_test]) for key in steered.settings)
    return effects(subjects, edited, len(steered.settings))


def effects(subjects: Subjects, edited: Iterable[tuple[str, np.ndarray]], n_settings: int) -> pd.DataFrame:
    """Return one row per setting, group of samples and metric: ``key``, then `COLUMNS`, with 95 % bootstrap intervals.

    ``shift`` is the mean distance that samples move, in units of the root mean square distance of unedited
    samples from their mean; ``target_gap`` and ``label_gap`` are what is left of the distance between the means of
    groups (`gap`); ``label_kept`` is the share of samples whose nearest unedited samples still vote for the
    label they voted for before.

    Parameters
    ----------
    edited
        Key and ``(n, d)`` embeddings of the same samples, one setting after the other.
    """
    spread = np.sqrt(np.square(subjects.original - subjects.original.mean(axis=0)).sum(axis=1).mean())
    vote = None if subjects.label is None else Vote(subjects.original, subjects.label.group)
    rows = []
    with progress_bar("effects", n_settings, "settings") as advance:
        for key, embedding in edited:
            rows += [(key, *row) for row in _of_setting(subjects, embedding.astype(np.float64), spread, vote)]
            advance()
    return pd.DataFrame(rows, columns=["key", *COLUMNS])


def _of_setting(subjects: Subjects, edited: np.ndarray, spread: float, vote: Vote | None) -> Iterator[tuple]:
    per_sample = {"shift": np.linalg.norm(edited - subjects.original, axis=1) / spread}
    if vote is not None:
        per_sample["label_kept"] = (vote(edited) == vote.before).astype(np.float64)
    for by, name, chosen in groups_of(len(edited), (subjects.label, subjects.donor)):
        for metric, values in per_sample.items():
            yield by, name, metric, *weighted_mean(values, subjects.weights, chosen), int(chosen.sum())
    for role, column in (("target", subjects.target), ("label", subjects.label)):
        if column is not None:
            known = int((column.group != None).sum())  # noqa: E711, elementwise
            yield "all", "", f"{role}_gap", *gap(subjects.original, edited, column.group, subjects.weights), known


def groups_of(n: int, columns: Iterable[Column | None]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield column, value and ``(n,) bool`` members: everyone, then each of the `large_groups` of the columns."""
    yield "all", "", np.ones(n, dtype=bool)
    for column in columns:
        if column is not None:
            yield from ((column.name, name, column.group == name) for name in large_groups(column.group))


def large_groups(group: np.ndarray) -> list[str]:
    """Return the names of the groups with at least `MIN_PER_GROUP` samples."""
    counts = pd.Series(group).value_counts()
    return sorted(counts.index[counts >= MIN_PER_GROUP])


def weighted_mean(values: np.ndarray, weights: np.ndarray, chosen: np.ndarray) -> tuple[float, float, float]:
    """Return the mean over the chosen samples and the ends of its 95 % bootstrap interval."""
    drawn = weights[chosen]
    total = drawn.sum(axis=0)
    means = (values[chosen] @ drawn)[total > 0] / total[total > 0]
    return values[chosen].mean(), *np.percentile(means, [2.5, 97.5])


def gap(original: np.ndarray, edited: np.ndarray, group: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Return the share of the distances between group means, summed over pairs, that is left, and its 95 % interval.

    ``sum ||m'_a - m'_b|| / sum ||m_a - m_b||``: 1 when the edit leaves them, 0 when all means coincide. Means of
    few samples never coincide exactly, so that resampling pushes a gap near 0 upwards; groups of fewer than
    `MIN_PER_GROUP` are left out.
    """
    names = large_groups(group)
    if len(names) < 2:
        return np.nan, np.nan, np.nan
    member = np.stack([group == name for name in names]).astype(np.float64)  # (n_groups, n)
    estimate = _spread_of_means(member, edited) / _spread_of_means(member, original)
    drawn = []
    for weight in weights.T:
        drawn_member = member * weight
        if (drawn_member.sum(axis=1) > 0).all():
            drawn.append(_spread_of_means(drawn_member, edited) / _spread_of_means(drawn_member, original))
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (np.nan, np.nan)
    return estimate, low, high


def _spread_of_means(member: np.ndarray, embedding: np.ndarray) -> float:
    means = member @ embedding / member.sum(axis=1, keepdims=True)
    first, second = np.triu_indices(len(means), k=1)
    return float(np.linalg.norm(means[first] - means[second], axis=1).sum())


class Vote:
    """The label that most of a sample's nearest unedited samples have; the sample itself does not vote.

    Parameters
    ----------
    original
        ``(n, d)`` unedited embeddings, of which at most `MAX_REFERENCE` vote.
    label
        ``(n,)``; samples without one (None) do not vote.
    """

    def __init__(self, original: np.ndarray, label: np.ndarray):
        voters = np.flatnonzero(label != None)  # noqa: E711, elementwise
        if len(voters) > MAX_REFERENCE:
            voters = np.sort(np.random.default_rng(0).choice(voters, MAX_REFERENCE, replace=False))
        self._voters = voters
        self._names, self._class = np.unique(label[voters].astype(str), return_inverse=True)
        self._search = NearestNeighbors(n_neighbors=min(N_NEIGHBOURS + 1, len(voters))).fit(original[voters])
        self.before = self(original)

    def __call__(self, embedding: np.ndarray) -> np.ndarray:
        """Return the label of the vote for each of the same samples, wherever they are now, ``(n,)``."""
        near = self._search.kneighbors(embedding, return_distance=False)
        counts = np.zeros((len(embedding), len(self._names)))
        others = self._voters[near] != np.arange(len(embedding))[:, None]
        # Without itself among them the farthest is one too many.
        others[others.all(axis=1), -1] = False
        for column, counted in zip(near.T, others.T, strict=True):
            np.add.at(counts, (np.flatnonzero(counted), self._class[column[counted]]), 1)
        return self._names[counts.argmax(axis=1)]
