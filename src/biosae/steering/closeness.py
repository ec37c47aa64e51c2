"""Closeness of steered control samples to treated ones, and its cost in labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from biosae.analysis.stats.intervals import resample_weights
from biosae.progress import progress_bar

from .context import Column, SteeringContext
from .edit_settings import Setting
from .effects import MIN_PER_GROUP, Vote, weighted_mean
from .embed import ORIGINAL, SteeredSamples
from .plan import SteeringPlan

COLUMNS = ("key", "part", "group_by", "group", "metric", "estimate", "low", "high", "n_control", "n_treated")
MAX_PAIRS_FROM = 2000  # samples of each side that energy distances are computed on


@dataclass(frozen=True, eq=False)
class Arms:
    """The control and treated samples of one part.

    Attributes
    ----------
    is_control
        Mask of the arm's control samples among those that are edited.
    control, treated
        Unedited embeddings.
    label, donor
        Of control and then treated samples; None without such a column.
    weights
        ``(n, n_resamples)`` number of times that each resample draws each sample, control and then treated.
    """

    part: str
    is_control: np.ndarray
    control: np.ndarray
    treated: np.ndarray
    label: Column | None
    donor: Column | None
    weights: np.ndarray

    @classmethod
    def of(cls, context: SteeringContext, plan: SteeringPlan, part: str, steered: SteeredSamples) -> Arms:
        rows, goal = steered.edited.samples, steered.goal.samples
        first, second = (np.isin(samples, context.rows(part)) for samples in (rows, goal))
        every = np.concatenate([rows[first], goal[second]])
        donor = context.column(None if context.batch_key == plan.target else context.batch_key, every)
        unit = None if donor is None else donor.group.astype(str)
        return cls(
            part=part,
            is_control=first,
            control=steered.of(ORIGINAL)[first].astype(np.float64),
            treated=steered.goal.of(ORIGINAL)[second].astype(np.float64),
            label=context.column(context.companion_label(plan.target), every),
            donor=donor,
            weights=resample_weights(unit, len(every), np.random.default_rng(plan.seed)),
        )

    @cached_property
    def vote(self) -> Vote | None:
        """The vote of the unedited samples; None without a label."""
        return None if self.label is None else Vote(np.concatenate([self.control, self.treated]), self.label.group)


def perturbation_effects(context: SteeringContext, plan: SteeringPlan, steered: SteeredSamples) -> pd.DataFrame:
    """Return one row per setting, part (select and test), group and metric: `COLUMNS`, and ``best_on_select``.

    ``distance_closed`` and ``energy_closed`` of all, and the first of every label and donor with both conditions;
    ``label_kept`` is the share of control samples whose nearest unedited samples of the part vote for the label they
    voted for before, ``label_accuracy`` the share for which they vote for the sample's own.
    """
    arms = [Arms.of(context, plan, part, steered) for part in plan.parts]
    keys, rows = [ORIGINAL, *steered.settings], []
    with progress_bar("effects", len(keys), "settings") as advance:
        for key in keys:
            embedding = steered.of(key)
            for arm in arms:
                own = embedding[arm.is_control].astype(np.float64)
                rows += [(key, arm.part, *row) for row in (*_distances(arm, own), *_labels(arm, own))]
            advance()
    return mark_best(pd.DataFrame(rows, columns=list(COLUMNS)), steered.settings)


def mark_best(table: pd.DataFrame, settings: dict[str, Setting]) -> pd.DataFrame:
    """Return the table with ``best_on_select``: true for the strength that is reported.

    It is the one that closes most on select; matched features and random directions take that of the SAE's features
    that they stand beside.
    """
    overall = table[(table["metric"] == "distance_closed") & (table["group_by"] == "all") & (table["part"] == "select")]
    closed = dict(zip(overall["key"], overall["estimate"], strict=True))
    best: dict[tuple, str] = {}
    for key, setting in settings.items():
        kind = (setting.method, len(setting.features))
        if setting.seed is None and (kind not in best or closed[key] > closed[best[kind]]):
            best[kind] = key
    strength = {n: settings[key].dose.value for (method, n), key in best.items() if method == "sae"}
    drawn = {key: setting for key, setting in settings.items() if setting.seed is not None}
    beside = {key for key, setting in drawn.items() if setting.dose.value == strength[len(setting.features)]}
    return table.assign(best_on_select=table["key"].isin(beside | set(best.values())))


def distance_closed(
    control: np.ndarray, edited: np.ndarray, treated: np.ndarray, weights: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float, float]:
    """Return the share of the distance between means that is closed, and its 95 % bootstrap interval.

    ``1 - ||mean(edited) - mean(treated)|| / ||mean(control) - mean(treated)||``: 1 is all the way, 0 nowhere, negative
    further away.

    Parameters
    ----------
    control, edited, treated
        ``(n, d)``, ``(n, d)`` and ``(m, d)`` embeddings.
    weights
        ``(n, n_resamples)`` and ``(m, n_resamples)`` number of times that each resample draws each sample.
    """
    own, others = weights
    usable = (own.sum(axis=0) > 0) & (others.sum(axis=0) > 0)
    own, others = own[:, usable], others[:, usable]
    before, after, there = (_means(e, w) for e, w in ((control, own), (edited, own), (treated, others)))
    drawn = 1 - np.linalg.norm(after - there, axis=1) / np.linalg.norm(before - there, axis=1)
    goal = treated.mean(axis=0)
    estimate = 1 - np.linalg.norm(edited.mean(axis=0) - goal) / np.linalg.norm(control.mean(axis=0) - goal)
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return float(estimate), float(low), float(high)


def energy_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return ``2 E||x - y|| - E||x - x'|| - E||y - y'||`` over pairs of different samples (Szekely and Rizzo 2013)."""
    between = cdist(first, second).mean()
    within = [cdist(side, side).sum() / (len(side) * (len(side) - 1)) for side in (first, second)]
    return float(2 * between - sum(within))


def energy_closed(control: np.ndarray, edited: np.ndarray, treated: np.ndarray) -> float:
    """Return ``1 - E(edited, treated) / E(control, treated)`` for energy distances: of distributions, not of means."""
    generator = np.random.default_rng(0)
    rows, others = (_some(len(side), generator) for side in (control, treated))
    goal = treated[others]
    return 1 - energy_distance(edited[rows], goal) / energy_distance(control[rows], goal)


def _distances(arm: Arms, edited: np.ndarray) -> Iterator[tuple]:
    n, m = len(arm.control), len(arm.treated)
    own, others = arm.weights[:n], arm.weights[n:]
    yield "all", "", "distance_closed", *distance_closed(arm.control, edited, arm.treated, (own, others)), n, m
    yield "all", "", "energy_closed", energy_closed(arm.control, edited, arm.treated), np.nan, np.nan, n, m
    for column in (arm.label, arm.donor):
        if column is None:
            continue
        for name in sorted({value for value in column.group if value is not None}):
            first, second = column.group[:n] == name, column.group[n:] == name
            if min(first.sum(), second.sum()) >= MIN_PER_GROUP:
                parts = arm.control[first], edited[first], arm.treated[second], (own[first], others[second])
                counts = int(first.sum()), int(second.sum())
                yield column.name, name, "distance_closed", *distance_closed(*parts), *counts


def _labels(arm: Arms, edited: np.ndarray) -> Iterator[tuple]:
    if arm.vote is None:
        return
    n, m = len(arm.control), len(arm.treated)
    own, weights = arm.label.group[:n], arm.weights[:n]
    after = arm.vote(np.concatenate([edited, arm.treated]))[:n]
    read = {"label_kept": (arm.vote.before[:n], np.full(n, True)), "label_accuracy": (own, own != None)}  # noqa: E711
    for metric, (expected, chosen) in read.items():
        right = (after == expected).astype(np.float64)
        yield "all", "", metric, *weighted_mean(right, weights, chosen), int(chosen.sum()), m


def _means(embedding: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean of every resample, ``(n_resamples, d)``."""
    return (weights.T @ embedding) / weights.sum(axis=0)[:, None]


def _some(n: int, generator: np.random.Generator) -> np.ndarray:
    if n <= MAX_PAIRS_FROM:
        return np.arange(n)
    return np.sort(generator.choice(n, MAX_PAIRS_FROM, replace=False))
