"""Scores of features for sites and domains: precision by residue, recall by domain, chosen and reported apart."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.results import Results, without_nan
from biosae.analysis.stats.held_out import HeldOutSelection
from biosae.analysis.stats.permutation_tests import SIGNIFICANT_Q, benjamini_hochberg
from biosae.errors import DataError
from biosae.features.token_codes import TokenCodes
from biosae.progress import progress_bar

from .domains import (
    Agreement,
    Domains,
    agreement,
    domains_of,
    read_residue_annotations,
    switched_on,
    turned,
    with_objects,
    within,
)
from .positions import position_windows, window_name
from .protocols import PROTOCOLS, Protocol, protocol_of
from .residue_codes import Residues, largest_on, n_residues_read, one_hot, residues_of

logger = logging.getLogger(__name__)

THRESHOLDS = (0.0, 0.15, 0.5, 0.6, 0.8)
"""Shares of a feature's largest code on the train proteins (Simon and Zou 2025, arXiv 2412.12101)."""

PER_CONCEPT = 50  # features of each concept that the table keeps


@dataclass(frozen=True, eq=False)
class ResidueScores:
    """Scores of all features against annotated residues.

    Attributes
    ----------
    best
        One row per feature: the columns of ``residues`` in docs/formats.md.
    table
        For each concept the features with the largest F1 on the select proteins.
    concepts
        One row per concept: the best feature on select with its scores on test, and the best single residue.
    left_out
        Concept and reason, for those that were not scored.
    n_beyond
        Annotations that begin beyond the residues which the model read, which no feature can find.
    """

    best: pd.DataFrame
    table: pd.DataFrame
    concepts: pd.DataFrame
    left_out: dict[str, str]
    n_beyond: int


def score_residues(
    results: Results,
    codes: TokenCodes,
    path: Path,
    table: anndata.AnnData,
    n_permutations: int,
    seed: int,
    protocol: str = "domains",
) -> None:
    """Add the analysis ``residues``, tables/residues.csv and the best feature of every concept.

    Parameters
    ----------
    path
        residues.csv.
    protocol
        One of `PROTOCOLS`.
    """
    part = table.obs["biosae_part"].astype(str).to_numpy()
    annotations, rules = read_residue_annotations(path, table.obs_names), protocol_of(protocol)
    try:
        found = residue_scores(codes, annotations, part, n_permutations, seed, rules)
    except DataError as error:
        results.summary["residues"] = {"left_out": {"all": str(error)}}
        logger.warning("residues are not scored: %s", error)
        return
    results.add_selected("residues", found.best, part)
    results.tables["residues"] = found.table
    results.summary["residues"] = {
        "n_features": int(found.best["concept"].notna().sum()),
        "n_significant": int((found.best["q_value"] < SIGNIFICANT_Q).sum()),
        "concepts": [without_nan(row) for row in found.concepts.to_dict("records")],
        "left_out": found.left_out,
        "protocol": protocol,
        "n_beyond_the_model": found.n_beyond,
    }
    if found.n_beyond:
        logger.warning(
            "%s annotations lie beyond the residues that the model read: not scorable", f"{found.n_beyond:,}"
        )
    logger.info("residues: %d concepts", len(found.concepts))


def residue_scores(
    codes: TokenCodes,
    annotations: pd.DataFrame,
    part: np.ndarray,
    n_permutations: int,
    seed: int,
    protocol: Protocol = PROTOCOLS["domains"],
) -> ResidueScores:
    """Scores every feature against every concept.

    A feature is on where its code exceeds a share of its largest on the train proteins. Share and concept are those
    with the best F1 on the select proteins; everything else is of the test proteins. For the null, the
    annotations of each test protein are turned around its sequence by a random number of residues, which keeps
    their lengths and which protein has which.

    Parameters
    ----------
    annotations
        ``sample``, ``start``, ``end`` (from 1, inclusive), ``concept`` and perhaps ``object``.
    part
        ``(n_samples,)`` part of the split.

    Raises
    ------
    DataError
        If no concept has enough domains on the select and on the test proteins.
    """
    annotations = with_objects(annotations)
    readable = within(annotations, n_residues_read(codes, len(part)))
    n_beyond = annotations["object"].nunique() - readable["object"].nunique()
    largest = largest_on(codes, part == "train")
    select, test = (residues_of(codes, part == name, largest) for name in ("select", "test"))
    names, left_out = protocol.scorable(readable, part)
    if not names:
        at_least = f"{protocol.min_domains} domains on the select and on the test proteins"
        raise DataError(f"no annotation of residues has {at_least}")
    by_residue = protocol.by_residue(names)
    annotated = [domains_of(readable, each.sample, names) for each in (select, test)]
    on_select = [agreement(switched_on(select.relative, share), annotated[0], by_residue) for share in THRESHOLDS]
    f1_select = np.max([found.f1 for found in on_select], axis=0)  # (d_sae, n_concepts)
    chosen = HeldOutSelection(
        (np.argmax([found.f1 for found in on_select], axis=0), f1_select.argmax(axis=1)), select.sample
    )
    choice, own = chosen.for_report_on(test.sample)
    report = _report(test, annotated[1], choice, by_residue)
    observed = report.f1[np.arange(codes.d_sae), own]
    chance = n_permutations, np.random.default_rng(seed)
    highest, n_reached = _null(test, annotated[1], choice, own, observed, by_residue, *chance)
    of_pairs = _Pairs(f1_select, choice, report, names)
    return ResidueScores(
        best=_best(of_pairs, highest, n_reached),
        table=_table(of_pairs),
        concepts=_concepts(of_pairs, highest, annotated, (select, test), codes, by_residue),
        left_out=left_out,
        n_beyond=n_beyond,
    )


def _report(residues: Residues, domains: Domains, choice: np.ndarray, by_residue: np.ndarray) -> Agreement:
    """Agreement of each pair at the threshold chosen for it."""
    found = [agreement(switched_on(residues.relative, share), domains, by_residue) for share in THRESHOLDS]
    names = [each.name for each in fields(Agreement)]
    return Agreement(*(np.choose(choice, [getattr(each, name) for each in found]) for name in names))


def _null(
    residues: Residues,
    domains: Domains,
    choice: np.ndarray,
    own: np.ndarray,
    observed: np.ndarray,
    by_residue: np.ndarray,
    n_permutations: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Score turned annotations at the chosen thresholds; ``own`` is the concept of each feature.

    Returns
    -------
    The best F1 of any feature, ``(n_permutations, n_concepts)``; how often each feature's own concept reached its
    observed F1, ``(d_sae,)``.
    """
    highest = np.empty((n_permutations, choice.shape[1]))
    n_reached = np.zeros(len(choice), dtype=np.int64)
    feature = np.arange(len(choice))
    with progress_bar("Null of residues", n_permutations, "permutations") as advance:
        for n in range(n_permutations):
            f1 = _report(residues, domains.shifted(turned(residues.sample, generator)), choice, by_residue).f1
            highest[n] = f1.max(axis=0)
            n_reached += f1[feature, own] >= observed
            advance()
    return highest, n_reached


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Everything known of pairs of a feature and a concept; arrays are ``(d_sae, n_concepts)``."""

    f1_select: np.ndarray
    choice: np.ndarray
    report: Agreement
    names: list[str]

    def rows(self, feature: np.ndarray, concept: np.ndarray) -> pd.DataFrame:
        at = (feature, concept)
        return pd.DataFrame(
            {
                "feature": feature,
                "concept": np.array(self.names, dtype=object)[concept],
                "f1_select": self.f1_select[at],
                "f1": self.report.f1[at],
                "precision": self.report.precision[at],
                "recall": self.report.recall[at],
                "recall_by_residue": self.report.recall_by_residue[at],
                "f1_by_residue": self.report.f1_by_residue[at],
                "threshold": np.array(THRESHOLDS)[self.choice[at]],
            }
        )


def _best(pairs: _Pairs, highest: np.ndarray, n_reached: np.ndarray) -> pd.DataFrame:
    """The concept that each feature marks best on select, scored on test."""
    feature = np.flatnonzero(pairs.f1_select.max(axis=1) > 0)
    concept = pairs.f1_select[feature].argmax(axis=1)
    rows = pairs.rows(feature, concept).set_index("feature")
    rows["null_f1"] = np.percentile(highest, 95, axis=0)[concept]
    rows["p_single"] = (1 + n_reached[feature]) / (1 + len(highest))
    rows["q_value"] = benjamini_hochberg(rows["p_single"].to_numpy())
    return rows.reindex(range(len(pairs.f1_select))).rename_axis("feature")


def _table(pairs: _Pairs) -> pd.DataFrame:
    order = np.argsort(-pairs.f1_select, axis=0, kind="stable")[:PER_CONCEPT]
    feature, concept = order.T.ravel(), np.repeat(np.arange(len(pairs.names)), len(order))
    kept = pairs.f1_select[feature, concept] > 0
    return pairs.rows(feature[kept], concept[kept])


def _concepts(
    pairs: _Pairs,
    highest: np.ndarray,
    annotated: list[Domains],
    residues: tuple[Residues, Residues],
    codes: TokenCodes,
    by_residue: np.ndarray,
) -> pd.DataFrame:
    """The best feature of each concept, beside the null, the best amino acid and the best window of positions."""
    concept = np.arange(len(pairs.names))
    rows = pairs.rows(pairs.f1_select.argmax(axis=0), concept)
    rows["null_f1"] = np.percentile(highest, 95, axis=0)
    rows["p_value"] = (1 + (highest >= rows["f1"].to_numpy()).sum(axis=0)) / (1 + len(highest))
    rows["n_domains"] = np.bincount(annotated[1].concept, minlength=len(concept))
    rows["base_rate"] = np.asarray(annotated[1].members.mean(axis=0)).ravel()
    n_vocabulary = int(codes.vocabulary["token"].max()) + 1
    letters = [
        agreement(one_hot(each.token, n_vocabulary), on, by_residue)
        for each, on in zip(residues, annotated, strict=True)
    ]
    letter = letters[0].f1.argmax(axis=0)
    rows["residue"] = codes.vocabulary["name"].to_numpy(dtype=object)[letter]
    rows["residue_f1"] = letters[1].f1[letter, concept]
    windows = [
        agreement(position_windows(each.sample), on, by_residue).f1
        for each, on in zip(residues, annotated, strict=True)
    ]
    window = windows[0].argmax(axis=0)
    rows["position"] = [window_name(number) for number in window]
    rows["position_f1"] = windows[1][window, concept]
    for row in rows[rows["position_f1"] >= rows["f1"]].itertuples():
        logger.warning("%s: %s does as well as any feature (F1 %.2f)", row.concept, row.position, row.position_f1)
    return rows
