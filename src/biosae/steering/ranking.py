"""Rankings of features to edit: by a score, by a difference, as the user names them, at random."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import MIN_PER_CLASS, class_names
from biosae.analysis.labels.marking import LabelledCodes
from biosae.analysis.results import read_analysis
from biosae.analysis.stats.thresholds import adjusted_mutual_information, best_thresholds, counts_above
from biosae.errors import ArtefactError, DataError, SettingError

from .context import CHOOSING_PARTS, Difference, SteeringContext
from .plan import SteeringPlan

N_NEAREST = 10  # features of most similar frequency among which a matched one is drawn
ON_TEST = ("label:", "labels", "donors:", "residues")
"""Analyses of the test samples; a column that ends in ``_select`` is the same score of the select samples."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """The features that a plan edits, each ranking with the first to edit first.

    Attributes
    ----------
    chooser
        A score, ``random``, ``list``, a file or ``difference``: the name of what chose them, for tables.
    chosen
        The ranking that is asked for; None where features are drawn at random alone, for each seed anew.
    counts
        Numbers of features to edit.
    random, matched
        Seed -> ranking of the baselines ``random_features`` and ``matched_features``; empty without them.
    difference
        Difference of the conditions of a perturbation; None in other sweeps.
    """

    chooser: str
    chosen: np.ndarray | None
    counts: list[int]
    random: dict[int, np.ndarray]
    matched: dict[int, np.ndarray]
    difference: Difference | None


def rankings(context: SteeringContext, plan: SteeringPlan) -> Rankings:
    """Return all rankings of a plan; samples that report decide none of them.

    Raises
    ------
    BiosaeError
        If more features are asked for than there are, or features, columns or scores do not exist.
    """
    firing = context.firing
    difference = context.difference(plan.target, *plan.between) if plan.is_perturbation else None
    chosen, chooser = chosen_features(context, plan, difference)
    counts = numbers_of_features(plan, len(firing.alive if chosen is None else chosen), chooser)
    random, matched = {}, {}
    if chosen is None or ("random_features" in plan.baselines and not plan.is_perturbation):
        random = {seed: random_ranking(firing.alive, seed) for seed in plan.seeds}
    if chosen is not None and "matched_features" in plan.baselines:
        # Matched to the longest list, so that no seed draws a feature that a longer edit chooses.
        matched = {seed: matched_ranking(chosen[: max(counts)], firing.frequency, seed) for seed in plan.seeds}
    return Rankings(chooser, chosen, counts, random, matched, difference)


def chosen_features(
    context: SteeringContext, plan: SteeringPlan, difference: Difference | None
) -> tuple[np.ndarray | None, str]:
    """Return `Rankings.chosen` and `Rankings.chooser`."""
    choice, d_sae = plan.choice, context.table.n_vars
    if difference is not None:
        W_dec = context.sae.W_dec.detach().cpu().numpy()
        return greedy_ranking(difference, W_dec, max(plan.n_features_list)), choice.by
    if choice.by == "random":
        return None, choice.by
    if choice.by == "list":
        return checked_features(list(choice.features), d_sae, "features"), choice.by
    if choice.by == "file":
        return read_features(choice.file, d_sae), str(choice.file)
    name = choice.score or f"label:{plan.target}/ami"
    return ranked_by(ranking_score(name, context), choice.descending), name


def numbers_of_features(plan: SteeringPlan, n_known: int, chooser: str) -> list[int]:
    """Return the numbers of a plan of which there are ``n_known`` features; all of them too where they are named."""
    counts = list(plan.n_features_list)
    if plan.choice.is_given:
        counts = sorted({n for n in counts if n < n_known} | {n_known})
    elif plan.is_perturbation:
        counts = sorted({min(n, n_known) for n in counts})
    if max(counts) > n_known:
        message = f"n_features_list asks for {max(counts)} features, but {chooser} gives {n_known}"
        raise SettingError(message, argument="steer.n_features_list")
    return counts


def ranked_by(score: np.ndarray, descending: bool) -> np.ndarray:
    """Return the features by their score, those without one left out; equal ones by number."""
    known = np.flatnonzero(~np.isnan(score))
    order = np.argsort(-score[known] if descending else score[known], kind="stable")
    return known[order]


def random_ranking(alive: np.ndarray, seed: int) -> np.ndarray:
    """Return the living features in random order."""
    return np.random.default_rng(seed).permutation(alive)


def matched_ranking(features: np.ndarray, frequency: np.ndarray, seed: int) -> np.ndarray:
    """Draw for each feature another one that fires about as often, none twice and none of the features themselves.

    Each is drawn from the `N_NEAREST` features of most similar log frequency that are left.

    Raises
    ------
    SettingError
        If fewer other features are alive than are wanted.
    """
    generator = np.random.default_rng(seed)
    left = np.setdiff1d(np.flatnonzero(frequency > 0), features)
    if len(left) < len(features):
        message = f"n_features_list asks for {len(features)} features, but only {len(left)} others ever fire"
        message = f"{message}, too few to match them; use smaller numbers or leave matched_features out"
        raise SettingError(message, argument="steer.n_features_list")
    log_frequency = np.log(np.maximum(frequency, np.finfo(float).tiny))
    drawn = np.empty(len(features), dtype=np.int64)
    for n, feature in enumerate(features):
        near = np.argsort(np.abs(log_frequency[left] - log_frequency[feature]), kind="stable")[:N_NEAREST]
        place = generator.choice(near)
        drawn[n] = left[place]
        left = np.delete(left, place)
    return drawn


def greedy_ranking(found: Difference, W_dec: np.ndarray, n: int) -> np.ndarray:
    """Rank the features whose own differences together come closest to the difference of the activations.

    Each step adds the feature ``j`` whose move ``u codes_j W_dec_j`` takes most off the squared distance that is
    left, with one unit ``u`` for all features, the least-squares one. Fewer than ``n`` when no feature helps.
    """
    moves = found.codes[:, None] * W_dec.astype(np.float64)  # (d_sae, d_in)
    whole = moves.sum(axis=0)
    moves *= (whole @ found.activation) / max(whole @ whole, np.finfo(float).tiny)
    size, left = np.square(moves).sum(axis=1), found.activation.copy()
    gain_left = np.ones(len(moves), dtype=bool)
    chosen: list[int] = []
    while len(chosen) < n:
        gain = np.where(gain_left, 2 * moves @ left - size, -np.inf)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        gain_left[best] = False
        left -= moves[best]
    return np.array(chosen, dtype=np.int64)


def checked_features(features: list[int], d_sae: int, source: str) -> np.ndarray:
    """Return the features as given, or raise `SettingError` when one does not exist, is there twice, or none is there.

    Parameters
    ----------
    source
        Names them in errors: ``features``, the argument, or a file.
    """
    unknown = [feature for feature in features if not 0 <= feature < d_sae]
    repeated = pd.Index(features)[pd.Index(features).duplicated()]
    if unknown:
        message = f"feature {unknown[0]}; this SAE has features 0 to {d_sae - 1}"
    elif len(repeated) or not features:
        message = f"feature {repeated[0]} twice" if features else "no feature"
    else:
        return np.array(features, dtype=np.int64)
    raise SettingError(f"{source} names {message}", "steer.features" if source == "features" else None)


def read_features(path: str | Path, d_sae: int) -> np.ndarray:
    """Read features from a text or CSV file, one per line, as ``12`` or ``f12``, in the first column; ``#`` comments.

    A first line that is not a feature is a heading.

    Raises
    ------
    DataError
        If the file cannot be read or a line names no feature.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"file={path} cannot be read: {error}", argument="steer.file") from error
    words = [(n, word) for n, line in enumerate(lines, 1) if (word := re.split("[#,\t]", line)[0].strip())]
    wrong = [place for place in words if not place[1].removeprefix("f").isdecimal()]
    if words and wrong[:1] == words[:1]:
        words, wrong = words[1:], wrong[1:]
    if wrong:
        n, word = wrong[0]
        raise DataError(f"{path}, line {n}: expected a feature such as 12 or f12, got {word!r}")
    return checked_features([int(word.removeprefix("f")) for _, word in words], d_sae, str(path))


def ranking_score(name: str, context: SteeringContext) -> np.ndarray:
    """Return the score ``analysis/metric``, NaN where a feature has none, ``(d_sae,)``.

    ``label:<column>/ami`` is computed here, on the train and select samples. ``auroc``, ``spearman`` and the ``f1`` of
    residues are read from scores.csv in their ``_select`` form; scores without labels (density, genes, geometry) as
    they are there.

    Raises
    ------
    SettingError
        If there is no such score, or only one of the test samples.
    ArtefactError
        If scores.csv is missing or was made from other features.
    """
    analysis, _, metric = name.rpartition("/")
    if not analysis:
        raise _score_error(f"score must be written analysis/metric, such as label:batch/ami, got {name}")
    if analysis.startswith("label:") and metric in ("ami", "ami_select"):
        return label_ami(context, analysis.removeprefix("label:"))
    scores = read_scores(context.folder)
    metric = _metric_to_read(analysis, metric, scores)
    column = scores[analysis][metric]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise _score_error(f"score {name} is text ({column.dropna().iloc[0]}); choose by a column of numbers")
    return column.to_numpy(dtype=np.float64)


def label_ami(context: SteeringContext, key: str) -> np.ndarray:
    """Return the AMI of "the feature is on" with a class of a label on train and select samples, the largest of them.

    The threshold of "on" is the one of largest F1 there. NaN for a feature that is silent there.

    Raises
    ------
    DataError
        If the column is missing or fewer than two classes have enough of these samples.
    """
    table = context.table
    if key not in table.obs:
        raise DataError(f"the features have no column {key}; they have {', '.join(map(str, table.obs.columns))}")
    text = class_names(table.obs[key])
    rows = context.rows(*CHOOSING_PARTS)
    rows = rows[text[rows] != None]  # noqa: E711, elementwise
    counts = pd.Series(text[rows]).value_counts()
    classes = sorted(counts.index[counts >= MIN_PER_CLASS])
    if len(classes) < 2:
        found = ", ".join(classes) or "none"
        message = f"choosing by {key} needs two values with {MIN_PER_CLASS} train or select samples each, got {found}"
        raise DataError(f"{message}; use more samples or choose by another score")
    labelled = LabelledCodes.of(table.X.tocsr(), text, classes, rows)
    n_above, n_hits = counts_above(labelled.codes, labelled.member, best_thresholds(labelled.codes, labelled.member))
    ami = adjusted_mutual_information(n_hits, n_above, labelled.member.sum(axis=0), len(rows)).max(axis=1)
    return np.where(np.diff(labelled.codes.offsets) > 0, ami, np.nan)


def read_scores(folder: Path) -> pd.DataFrame:
    """Read scores.csv of a run, if it belongs to the run's features."""
    path = folder / "scores.csv"
    if not path.exists():
        raise ArtefactError(f"{path} does not exist; make it with the analyze stage")
    read_analysis(folder)
    return pd.read_csv(path, header=[0, 1], index_col=0)


def _metric_to_read(analysis: str, metric: str, scores: pd.DataFrame) -> str:
    """Return the metric, or its twin on the select samples for a score of the test samples."""
    known, name = [f"{first}/{second}" for first, second in scores.columns], f"{analysis}/{metric}"
    twin = f"{metric.removesuffix('_select')}_select"
    has_twin = f"{analysis}/{twin}" in known
    if name not in known and not has_twin:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        there = f"did you mean {near[0]}?" if near else f"it has the analyses {', '.join(scores.columns.unique(0))}"
        raise _score_error(f"score {name} is not a column of scores.csv; {there}")
    if not analysis.startswith(ON_TEST):
        return metric
    if not has_twin:
        others = [other.removesuffix("_select") for other in known if other.endswith("_select")]
        others += [f"{first}/ami" for first in scores.columns.unique(0) if first.startswith("label:")]
        message = f"{name} is a score of the test samples, on which steering is evaluated; choose by"
        raise _score_error(f"score {message} {' or '.join(others)}, which are not taken from the test samples")
    return twin


def _score_error(message: str) -> SettingError:
    return SettingError(message, argument="steer.score")
