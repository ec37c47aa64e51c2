"""Rankings of features to edit: by a score, by a difference, as the user names them, at random."""

from __future__ import annotations

import difflib
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import MIN_PER_CLASS, class_names
from biosae.analysis.labels.marking import LabelledCodes
from biosae.analysis.results import read_analysis
from biosae.analysis.stats.thresholds import adjusted_mutual_information, best_thresholds, counts_above
from biosae.errors import ArtefactError, DataError, SettingError

from .choosing_samples import CHOOSING_PARTS, Difference, rows_of
from .context import SteeringContext
from .plan import SteeringPlan

N_NEAREST = 10  # features of most similar frequency among which a matched one is drawn
ON_TEST = ("label:", "labels", "donors:", "residues")
"""Analyses of the test samples; a column that ends in ``_select`` is the same score of the select samples."""


def ranked_features(
    context: SteeringContext, plan: SteeringPlan, found: Difference | None
) -> tuple[np.ndarray | None, str]:
    """Return the ranking of a plan, and the name of what chose it for tables.

    Parameters
    ----------
    found
        Difference of the conditions of a perturbation; None in other sweeps.

    Returns
    -------
    ranking
        Features, the first to edit first; None to draw them at random, for each seed anew.
    chooser
        A score, ``random``, ``list``, a file or ``difference``.
    """
    choice, d_sae = plan.choice, context.table.n_vars
    if found is not None:
        W_dec = context.sae.W_dec.detach().cpu().numpy()
        return greedy_ranking(found, W_dec, max(plan.n_features_list)), choice.by
    if choice.by == "random":
        return None, choice.by
    if choice.by == "list":
        return checked_features(list(choice.features), d_sae, "features"), choice.by
    if choice.by == "file":
        return read_features(choice.file, d_sae), str(choice.file)
    name = choice.score or f"label:{plan.target}/ami"
    return ranked_by(ranking_score(name, context.folder, context.table), choice.descending), name


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
    argument = "steer.features" if source == "features" else None
    if unknown:
        raise SettingError(f"{source} names feature {unknown[0]}; this SAE has features 0 to {d_sae - 1}", argument)
    if len(repeated):
        raise SettingError(f"{source} names feature {repeated[0]} twice", argument)
    if not features:
        raise SettingError(f"{source} names no feature", argument)
    return np.array(features, dtype=np.int64)


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
    words = [(n, line.partition("#")[0].replace(",", "\t").split("\t")[0].strip()) for n, line in enumerate(lines, 1)]
    words = [(n, word) for n, word in words if word]
    if words and not _is_feature(words[0][1]):
        words = words[1:]
    for n, word in words:
        if not _is_feature(word):
            raise DataError(f"{path}, line {n}: expected a feature such as 12 or f12, got {word!r}")
    return checked_features([int(word.removeprefix("f")) for _, word in words], d_sae, str(path))


def ranking_score(name: str, folder: Path, table: anndata.AnnData) -> np.ndarray:
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
        return label_ami(table, analysis.removeprefix("label:"))
    scores = read_scores(folder)
    metric = _metric_to_read(analysis, metric, scores)
    column = scores[analysis][metric]
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise _score_error(f"score {name} is text ({column.dropna().iloc[0]}); choose by a column of numbers")
    return column.to_numpy(dtype=np.float64)


def label_ami(table: anndata.AnnData, key: str) -> np.ndarray:
    """Return the AMI of "the feature is on" with a class of a label on train and select samples, the largest of them.

    The threshold of "on" is the one of largest F1 there. NaN for a feature that is silent there.

    Raises
    ------
    DataError
        If the column is missing or fewer than two classes have enough of these samples.
    """
    if key not in table.obs:
        raise DataError(f"the features have no column {key}; they have {', '.join(map(str, table.obs.columns))}")
    text = class_names(table.obs[key])
    rows = rows_of(table, CHOOSING_PARTS)
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
        raise _score_error(f"score {name} is not a column of scores.csv; {_nearest(name, known)}")
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


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    analyses = dict.fromkeys(column.rpartition("/")[0] for column in known)
    return f"did you mean {near[0]}?" if near else f"it has the analyses {', '.join(analyses)}"


def _is_feature(word: str) -> bool:
    return word.removeprefix("f").isdecimal()
