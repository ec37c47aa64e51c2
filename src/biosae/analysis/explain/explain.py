"""Explanations of features: fitted on some samples, the simplest good one chosen, and judged on others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from biosae.analysis.stats.held_out import HeldOutSelection
from biosae.progress import Advance, progress_bar

from .candidates import COMPLEXITY, ONE_SIDED, Candidates, candidates
from .evidence import Evidence
from .fits import Lines, fit_lines

FEATURES_PER_BLOCK = 256
MIN_FIDELITY = 0.2  # share of the held-out activity, beyond that for shuffled codes, from which one is claimed
STRONG_SHARE = 0.1  # of the samples in which a feature counts as firing
MIN_ACTIVE = 5  # select and test samples where a feature must be active


@dataclass(frozen=True, eq=False)
class Explanations:
    """Explanations of all features.

    Attributes
    ----------
    chosen
        One row per feature: ``kind``, ``key`` (label column), ``names`` (tuple), ``is_low`` (fires where the
        variable is small), ``fidelity``, ``firing_auroc``, ``fidelity_select`` and ``is_explained``.
    tried
        One row for every feature and kind, with ``feature`` and the two fidelities.
    """

    chosen: pd.DataFrame
    tried: pd.DataFrame


def explain(evidence: Evidence, seed: int) -> Explanations:
    """Explain every feature, with the fidelity that the same reaches for shuffled codes in ``chosen["null_fidelity"]``.

    Candidates are the best of their kind on train samples; lines are fitted on select samples, where the
    simplest candidate is taken whose error, each sample left out once, is within one standard error of the
    smallest. Its fidelity is the share of the squared deviation from the mean that it predicts on test samples;
    it is claimed where that is `MIN_FIDELITY` more than for shuffled codes.
    """
    d_sae = evidence.codes.shape[1]
    with progress_bar("Explanations", 2 * d_sae, "features") as advance:
        found = _explained(evidence, advance)
        by_chance = _explained(evidence.shuffled(np.random.default_rng(seed)), advance)
    null = by_chance.chosen["fidelity"].where(found.chosen["fidelity"].notna())
    chosen = found.chosen.assign(null_fidelity=null)
    of_chance = np.where(chosen["kind"] == "batch", 0, null.clip(lower=0))  # shuffling keeps the donor's share
    chosen["is_explained"] = (chosen["kind"] != "nothing") & (chosen["fidelity"] - of_chance >= MIN_FIDELITY)
    return Explanations(chosen, found.tried)


def judge(evidence: Evidence, values: np.ndarray, features: np.ndarray, rising: bool = False) -> pd.DataFrame:
    """Fidelity of given explanations, fitted on select and judged on test samples.

    Parameters
    ----------
    values
        ``(n, m)`` what each says of every sample of the evidence.
    features
        ``(m,)`` the feature that each explains.
    rising
        Whether a line that falls is taken for none, so that an explanation of the opposite is worth nothing.

    Returns
    -------
    One row per explanation: ``fidelity`` and ``firing_auroc``.
    """
    select, test = evidence.of_part("select"), evidence.of_part("test")
    y = evidence.codes[:, features].toarray().astype(np.float32)
    lines = fit_lines(values[select], y[select])
    if rising:
        falls = lines.slope < 0
        lines = replace(
            lines,
            slope=np.where(falls, 0, lines.slope),
            intercept=np.where(falls, y[select].mean(axis=0), lines.intercept),
        )
    mean = fit_lines(np.zeros_like(values[select]), y[select])
    fidelity = 1 - lines.squared_error(values[test], y[test]) / _positive(mean.squared_error(values[test], y[test]))
    auroc = firing_auroc(lines.predict(values[test]), y[test] > strong(y[select]))
    return pd.DataFrame({"fidelity": np.where(_enough(y, select, test), fidelity, np.nan), "firing_auroc": auroc})


def strong(y: np.ndarray) -> np.ndarray:
    """``(m,)`` code that a tenth of the samples exceeds: a feature that fires on most tokens fires in every sample."""
    return np.maximum(np.quantile(y, 1 - STRONG_SHARE, axis=0), 0)


def firing_auroc(predicted: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """``(m,)`` AUROC of predictions for where features fire; NaN where one fires everywhere or nowhere."""
    n_on = fires.sum(axis=0)
    n_pairs = n_on * (len(fires) - n_on)
    above = (rankdata(predicted, axis=0) * fires).sum(axis=0) - n_on * (n_on + 1) / 2
    return np.divide(above, n_pairs, out=np.full(len(n_on), np.nan), where=n_pairs > 0)


def _explained(evidence: Evidence, advance: Advance) -> Explanations:
    d_sae, blocks = evidence.codes.shape[1], []
    for start in range(0, d_sae, FEATURES_PER_BLOCK):
        features = slice(start, min(start + FEATURES_PER_BLOCK, d_sae))
        blocks.append(_explain_block(evidence, features))
        advance(features.stop - features.start)
    tables = [pd.concat(parts, ignore_index=True) for parts in zip(*blocks, strict=True)]
    return Explanations(tables[0].rename_axis("feature"), tables[1])


def _explain_block(evidence: Evidence, features: slice) -> tuple[pd.DataFrame, pd.DataFrame]:
    select, test = evidence.of_part("select"), evidence.of_part("test")
    y = evidence.codes[:, features].toarray().astype(np.float32)
    nothing = Candidates("nothing", "", [()] * y.shape[1], np.zeros_like(y))
    tried = [nothing, *candidates(evidence, features)]
    lines = [fit_lines(each.values[select], y[select]) for each in tried]
    errors = np.stack([line.left_out for line in lines])  # (n_kinds, n_select, m)
    has_name = np.array([[kind == 0 or bool(name) for name in each.names] for kind, each in enumerate(tried)])
    rows = list(zip(tried, lines, strict=True))
    has_name &= np.stack([(line.slope >= 0) | (each.kind not in ONE_SIDED) for each, line in rows])
    which = HeldOutSelection(_simplest(errors, [each.kind for each in tried], has_name), evidence.rows[select])
    chosen = which.for_report_on(evidence.rows[test])
    on_test = np.stack([_error(each, line, y, test) for each, line in zip(tried, lines, strict=True)])
    on_select = errors.mean(axis=1, dtype=np.float64)
    fidelity, fidelity_select = (1 - error / _positive(error[0]) for error in (on_test, on_select))
    is_judged, at = _enough(y, select, test), (chosen, np.arange(y.shape[1]))
    predicted = np.empty_like(y[test])
    for kind, (each, line) in enumerate(zip(tried, lines, strict=True)):
        own = chosen == kind
        predicted[:, own] = line.predict(each.values[test])[:, own]
    best = pd.DataFrame(
        {
            "kind": [tried[kind].kind for kind in chosen],
            "key": [tried[kind].key for kind in chosen],
            "names": [tried[kind].names[f] for f, kind in enumerate(chosen)],
            "is_low": np.stack([line.slope for line in lines])[at] < 0,
            "fidelity": np.where(is_judged, fidelity[at], np.nan),
            "firing_auroc": np.where(is_judged, firing_auroc(predicted, y[test] > strong(y[select])), np.nan),
            "fidelity_select": np.where(is_judged, fidelity_select[at], np.nan),
        }
    )
    return best, _long(tried, features, fidelity, fidelity_select, is_judged)


def _simplest(errors: np.ndarray, kinds: list[str], has_name: np.ndarray) -> np.ndarray:
    """``(m,)`` the simplest candidate whose error is within one standard error of the smallest.

    The standard error is that of the difference, sample by sample, from the candidate with the smallest error.
    """
    mean = np.where(has_name, errors.mean(axis=1, dtype=np.float64), np.inf)
    best = np.take_along_axis(errors, mean.argmin(axis=0)[None, None, :], axis=0)
    difference = errors - best
    spread = difference.std(axis=1, dtype=np.float64) / np.sqrt(errors.shape[1])
    is_near = has_name & (difference.mean(axis=1, dtype=np.float64) <= spread)
    complexity = np.array([COMPLEXITY[kind] for kind in kinds])[:, None]
    order = np.where(is_near, complexity, np.inf)
    return np.lexsort((mean, order), axis=0)[0]


def _error(each: Candidates, line: Lines, y: np.ndarray, test: np.ndarray) -> np.ndarray:
    return line.squared_error(each.values[test], y[test])


def _positive(error: np.ndarray) -> np.ndarray:
    return np.where(error > 0, error, np.nan)


def _enough(y: np.ndarray, select: np.ndarray, test: np.ndarray) -> np.ndarray:
    """True for features that are active on enough samples to be judged."""
    return ((y[select] != 0).sum(axis=0) >= MIN_ACTIVE) & ((y[test] != 0).sum(axis=0) >= MIN_ACTIVE)


def _long(
    tried: list[Candidates], features: slice, fidelity: np.ndarray, fidelity_select: np.ndarray, is_judged: np.ndarray
) -> pd.DataFrame:
    """The candidates that were judged."""
    numbers = np.arange(features.start, features.stop)
    parts = []
    for kind, each in enumerate(tried[1:], start=1):
        kept = np.flatnonzero(is_judged & np.array([bool(name) for name in each.names]))
        columns = {"feature": numbers[kept], "kind": each.kind, "key": each.key, "names": [each.names[f] for f in kept]}
        scores = {"fidelity_select": fidelity_select[kind, kept], "fidelity": fidelity[kind, kept]}
        parts.append(pd.DataFrame(columns | scores))
    empty = pd.DataFrame(columns=["feature", "kind", "key", "names", "fidelity_select", "fidelity"])
    return pd.concat(parts, ignore_index=True) if parts else empty
