"""The steer stage for perturbations: control samples steered toward treated ones, held out and beside baselines."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import class_names
from biosae.analysis.stats.intervals import resample_weights
from biosae.errors import DataError
from biosae.progress import progress_bar

from .activity import activity, rows_of
from .context import SteeringContext
from .contrast import contrast
from .direction import Difference, difference, greedy_ranking, toward_settings
from .distance import distance_closed, energy_closed
from .edits import Shift, TokenEdit
from .effects import MIN_PER_GROUP, Vote, weighted_mean
from .run import label_beside, numbered, provenance, with_settings, write_off_target, write_tables
from .setting import Setting, edit_of, tensor
from .steered import ORIGINAL, write_steered
from .sweep import check_baselines

logger = logging.getLogger(__name__)

PARTS = ("select", "test")
"""Strengths are compared on select, effects reported on test."""

COLUMNS = ("key", "part", "group_by", "group", "metric", "estimate", "low", "high", "n_control", "n_treated")


@dataclass(frozen=True)
class Perturbation:
    """From which to which value of a column of obs, and by how much of their difference."""

    key: str
    control: str
    treated: str
    n_features_list: tuple[int, ...]
    strengths: tuple[float, ...]
    seeds: tuple[int, ...]
    baselines: tuple[str, ...]
    off_target_samples: int


@dataclass(frozen=True, eq=False)
class Arms:
    """The samples of one part: rows of control and treated, their unedited embeddings, labels and donors.

    ``label`` and ``donor`` are of control and then treated samples; None where there are none.
    """

    part: str
    control_rows: np.ndarray
    control: np.ndarray
    treated: np.ndarray
    label: np.ndarray | None
    donor: np.ndarray | None
    names: dict[str, str]
    weights: np.ndarray


def run_perturbation(
    host: SteeringContext,
    plan: Perturbation,
    run: Path,
    label_keys: Sequence[str],
    batch_key: str | None,
    features_hash: str,
    embedded: Path,
    seed: int,
) -> pd.DataFrame:
    """Writes perturbation.h5ad and its tables into the run folder; gives perturbation.csv.

    Raises
    ------
    BiosaeError
        If a column or value does not exist, or select or test lack one of the two, before anything is embedded.
    """
    check_baselines(plan.baselines, plan.seeds)
    conditions = contrast(host.table, plan.key, "steer.perturbation.key")
    found = difference(host.table, conditions, plan.control, plan.treated)
    W_dec = host.sae.W_dec.detach().cpu().numpy()
    ranking = greedy_ranking(found, W_dec, max(plan.n_features_list))
    listed = toward_settings(
        ranking, found, plan.n_features_list, plan.strengths, plan.seeds, plan.baselines, activity(host.table)
    )
    settings = numbered(listed)
    edits = {key: edit_toward(setting, found) for key, setting in settings.items()}
    rows = {name: arm_rows(host, plan, name) for name in (plan.control, plan.treated)}
    logger.info("%d settings on %d control samples", len(settings), len(rows[plan.control]))
    names = {key: setting.identity for key, setting in settings.items()}
    steered = host.embeddings(embedded, rows[plan.control], {names[key]: edits[key] for key in edits})
    goal = host.embeddings(embedded, rows[plan.treated], {}).of(ORIGINAL)
    described = provenance(host, features_hash, PARTS, plan.key)
    write_steered(
        run / "perturbation.h5ad", host.table.obs, _keyed(rows, plan, steered, goal, names), settings, described
    )
    arms = [_arms(host, plan, part, rows, steered.of(ORIGINAL), goal, label_keys, batch_key, seed) for part in PARTS]
    keyed = ((key, steered.of(name)) for key, name in {ORIGINAL: ORIGINAL, **names}.items())
    found_effects = closeness(arms, keyed, rows[plan.control], len(names) + 1)
    table = with_settings(mark_best(found_effects, settings), settings)
    write_tables(run / "steering", {"perturbation": table})
    best = {key: settings[key] for key in table.loc[table["best_on_select"], "key"].unique()}
    test = np.intersect1d(rows[plan.control], rows_of(host.table, ("test",)))
    prefix = "perturbation_off_target"
    off_target_edits = {key: edits[key] for key in best}
    label_key = label_beside(host.table.obs, label_keys, batch_key, plan.key)
    groups = [key for key in (label_key, batch_key) if key not in (None, plan.key)]
    options = (groups, run / "steering", seed, prefix)
    write_off_target(host, test, plan.off_target_samples, best, off_target_edits, *options)
    return table


def edit_toward(setting: Setting, found: Difference) -> TokenEdit:
    """The edit of a setting; the difference in means is a vector added to every token."""
    if setting.method == "difference_in_means":
        return Shift(tensor(setting.value * found.activation))
    return edit_of(setting, None, len(found.activation))


def arm_rows(host: SteeringContext, plan: Perturbation, value: str) -> np.ndarray:
    """Rows of the select and test samples of a condition.

    Raises
    ------
    DataError
        If one of the two parts has fewer than two.
    """
    text = class_names(host.table.obs[plan.key])
    by_part = {part: [row for row in rows_of(host.table, (part,)) if text[row] == value] for part in PARTS}
    for part, rows in by_part.items():
        if len(rows) < 2:
            message = f"{plan.key}={value} has {len(rows)} samples in the part {part}; at least 2 are needed"
            raise DataError(f"{message}: use more samples or a larger data.preprocess.split")
    return np.sort(np.concatenate(list(by_part.values())))


def closeness(
    arms: list[Arms], edited: Iterator[tuple[str, np.ndarray]], control_rows: np.ndarray, n_settings: int
) -> pd.DataFrame:
    """One row a setting, part, group and metric: `COLUMNS`.

    ``distance_closed`` and ``energy_closed`` of all, and the first of every label and donor with both conditions;
    ``label_kept`` the share of control samples whose nearest unedited samples of the part vote for the label they
    voted for before, ``label_accuracy`` the share for which they vote for the sample's own.
    """
    votes = [None if arm.label is None else Vote(np.concatenate([arm.control, arm.treated]), arm.label) for arm in arms]
    rows = []
    with progress_bar("effects", n_settings, "settings") as advance:
        for key, embedding in edited:
            for arm, vote in zip(arms, votes, strict=True):
                own = embedding[np.isin(control_rows, arm.control_rows)].astype(np.float64)
                rows += [(key, arm.part, *row) for row in (*_distances(arm, own), *_labels(arm, own, vote))]
            advance()
    return pd.DataFrame(rows, columns=list(COLUMNS))


def mark_best(table: pd.DataFrame, settings: dict[str, Setting]) -> pd.DataFrame:
    """The table with ``best_on_select``: true for the strength that is reported.

    It is the one that closes most on select; matched features and random directions take that of the SAE's features
    that they stand beside.
    """
    overall = table[(table["metric"] == "distance_closed") & (table["group_by"] == "all") & (table["part"] == "select")]
    closed = dict(zip(overall["key"], overall["estimate"], strict=True))
    best: dict[tuple, str] = {}
    for key, setting in settings.items():
        kind = (setting.method, setting.n_features)
        if setting.seed is None and (kind not in best or closed[key] > closed[best[kind]]):
            best[kind] = key
    strength = {n: settings[key].value for (method, n), key in best.items() if method == "sae"}
    beside = {key for key, s in settings.items() if s.seed is not None and s.value == strength[s.n_features]}
    return table.assign(best_on_select=table["key"].isin(beside | set(best.values())))


def _distances(arm: Arms, edited: np.ndarray) -> Iterator[tuple]:
    n, m = len(arm.control), len(arm.treated)
    own, others = arm.weights[:n], arm.weights[n:]
    yield "all", "", "distance_closed", *distance_closed(arm.control, edited, arm.treated, (own, others)), n, m
    yield "all", "", "energy_closed", energy_closed(arm.control, edited, arm.treated), np.nan, np.nan, n, m
    for role in ("label", "donor"):
        group = getattr(arm, role)
        for name in sorted({g for g in group if g is not None}) if group is not None else ():
            first, second = group[:n] == name, group[n:] == name
            if min(first.sum(), second.sum()) >= MIN_PER_GROUP:
                parts = arm.control[first], edited[first], arm.treated[second], (own[first], others[second])
                counts = int(first.sum()), int(second.sum())
                yield arm.names[role], name, "distance_closed", *distance_closed(*parts), *counts


def _labels(arm: Arms, edited: np.ndarray, vote: Vote | None) -> Iterator[tuple]:
    if vote is None:
        return
    n, m = len(arm.control), len(arm.treated)
    after = vote(np.concatenate([edited, arm.treated]))[:n]
    kept = (after == vote.before[:n]).astype(np.float64)
    known = arm.label[:n] != None  # noqa: E711, elementwise
    right = (after == arm.label[:n]).astype(np.float64)
    weights = arm.weights[:n]
    yield "all", "", "label_kept", *weighted_mean(kept, weights, np.ones(n, dtype=bool)), n, m
    yield "all", "", "label_accuracy", *weighted_mean(right, weights, known), int(known.sum()), m


def _arms(
    host: SteeringContext,
    plan: Perturbation,
    part: str,
    rows: dict[str, np.ndarray],
    control: np.ndarray,
    treated: np.ndarray,
    label_keys: Sequence[str],
    batch_key: str | None,
    seed: int,
) -> Arms:
    of_part = rows_of(host.table, (part,))
    first, second = (np.isin(rows[name], of_part) for name in (plan.control, plan.treated))
    every = np.concatenate([rows[plan.control][first], rows[plan.treated][second]])
    label_key = label_beside(host.table.obs, label_keys, batch_key, plan.key)
    columns = {"label": label_key, "donor": batch_key if batch_key != plan.key else None}
    groups = {role: None if key is None else class_names(host.table.obs[key])[every] for role, key in columns.items()}
    donor = None if groups["donor"] is None else groups["donor"].astype(str)
    return Arms(
        part=part,
        control_rows=rows[plan.control][first],
        control=control[first].astype(np.float64),
        treated=treated[second].astype(np.float64),
        **groups,
        names={role: key for role, key in columns.items() if key},
        weights=resample_weights(donor, len(every), np.random.default_rng(seed)),
    )


def _keyed(rows: dict, plan: Perturbation, steered, goal: np.ndarray, names: dict[str, str]) -> Iterator[tuple]:
    both = np.concatenate([rows[plan.control], rows[plan.treated]])
    yield ORIGINAL, both, np.concatenate([steered.of(ORIGINAL), goal])
    for key, name in names.items():
        yield key, rows[plan.control], steered.of(name)
