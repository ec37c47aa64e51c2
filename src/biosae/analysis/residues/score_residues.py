"""Scores of features for sites and domains: precision by residue, recall by domain, chosen and reported apart."""

from __future__ import annotations

import logging
from dataclasses import dataclass
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

from .domains import Agreement, Domains, agreement, domains_of, read_residue_annotations, switched_on, turned
from .residue_codes import Residues, largest_on, one_hot, residues_of

logger = logging.getLogger(__name__)

THRESHOLDS = (0.0, 0.15, 0.5, 0.6, 0.8)
"""Shares of a feature's largest code on the train proteins (Simon and Zou 2025, arXiv 2412.12101)."""

MIN_DOMAINS = 3  # that a concept needs on the select and on the test proteins
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
    """

    best: pd.DataFrame
    table: pd.DataFrame
    concepts: pd.DataFrame
    left_out: dict[str, str]


def score_residues(
    results: Results, codes: TokenCodes, path: Path, table: anndata.AnnData, n_permutations: int, seed: int
) -> None:
    """Add the analysis ``residues``, tables/residues.csv and the best feature of every concept."""
    part = table.obs["biosae_part"].astype(str).to_numpy()
    try:
        found = residue_scores(codes, read_residue_annotations(path, table.obs_names), part, n_permutations, seed)
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
    }
    logger.info("residues: %d concepts", len(found.concepts))


def residue_scores(
    codes: TokenCodes, annotations: pd.DataFrame, part: np.ndarray, n_permutations: int, seed: int
) -> ResidueScores:
    """Scores every feature against every concept.

    A feature is on where its code exceeds a share of its largest on the train proteins. Share and concept are those
    with the best F1 on the select proteins; everything else is of the test proteins. For the null, the
    annotations of each test protein are turned around its sequence by a random number of residues, which keeps
    their lengths and which protein has which.

    Parameters
    ----------
    annotations
        ``sample``, ``start``, ``end`` (from 1, inclusive) and ``concept``.
    part
        ``(n_samples,)`` part of the split.

    Raises
    ------
    DataError
        If no concept has `MIN_DOMAINS` domains on the select and on the test proteins.
    """
    largest = largest_on(codes, part == "train")
    select, test = (residues_of(codes, part == name, largest) for name in ("select", "test"))
    names, left_out = _scorable(annotations, part)
    annotated = [domains_of(annotations, each.sample, names) for each in (select, test)]
    on_select = [agreement(switched_on(select.relative, share), annotated[0]) for share in THRESHOLDS]
    f1_select = np.max([found.f1 for found in on_select], axis=0)  # (d_sae, n_concepts)
    chosen = HeldOutSelection(
        (np.argmax([found.f1 for found in on_select], axis=0), f1_select.argmax(axis=1)), select.sample
    )
    choice, own = chosen.for_report_on(test.sample)
    report = _report(test, annotated[1], choice)
    observed = report.f1[np.arange(codes.d_sae), own]
    highest, n_reached = _null(test, annotated[1], choice, own, observed, n_permutations, np.random.default_rng(seed))
    of_pairs = _Pairs(f1_select, choice, report, names)
    return ResidueScores(
        best=_best(of_pairs, highest, n_reached),
        table=_table(of_pairs),
        concepts=_concepts(of_pairs, highest, annotated, (select, test), codes),
        left_out=left_out,
    )


def _report(residues: Residues, domains: Domains, choice: np.ndarray) -> Agreement:
    """Agreement of each pair at the threshold chosen for it."""
    found = [agreement(switched_on(residues.relative, share), domains) for share in THRESHOLDS]
    chosen = [np.choose(choice, [getattr(each, name) for each in found]) for name in ("precision", "recall", "f1")]
    return Agreement(*chosen)


def _null(
    residues: Residues,
    domains: Domains,
    choice: np.ndarray,
    own: np.ndarray,
    observed: np.ndarray,
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
            f1 = _report(residues, domains.shifted(turned(residues.sample, generator)), choice).f1
            highest[n] = f1.max(axis=0)
            n_reached += f1[feature, own] >= observed
            advance()
    return highest, n_reached


def _scorable(annotations: pd.DataFrame, part: np.ndarray) -> tuple[list[str], dict[str, str]]:
    """Concepts with enough domains on both parts, and the reason for each other one."""
    counts = pd.crosstab(annotations["concept"], part[annotations["sample"]]).reindex(
        columns=["select", "test"], fill_value=0
    )
    enough = counts.min(axis=1) >= MIN_DOMAINS
    if not enough.any():
        raise DataError(f"no annotation of residues has {MIN_DOMAINS} domains on the select and on the test proteins")
    left_out = {
        name: f"{row.select} domains on select, {row.test} on test; at least {MIN_DOMAINS} of each"
        for name, row in counts[~enough].iterrows()
    }
    return list(counts.index[enough]), left_out


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
    pairs: _Pairs, highest: np.ndarray, annotated: list[Domains], residues: tuple[Residues, Residues], codes: TokenCodes
) -> pd.DataFrame:
    """The best feature of each concept, beside the null and beside the best single amino acid."""
    concept = np.arange(len(pairs.names))
    rows = pairs.rows(pairs.f1_select.argmax(axis=0), concept)
    rows["null_f1"] = np.percentile(highest, 95, axis=0)
    rows["p_value"] = (1 + (highest >= rows["f1"].to_numpy()).sum(axis=0)) / (1 + len(highest))
    rows["n_domains"] = np.bincount(annotated[1].concept, minlength=len(concept))
    rows["base_rate"] = np.asarray(annotated[1].members.mean(axis=0)).ravel()
    n_vocabulary = int(codes.vocabulary["token"].max()) + 1
    letters = [agreement(one_hot(each.token, n_vocabulary), on) for each, on in zip(residues, annotated, strict=True)]
    letter = letters[0].f1.argmax(axis=0)
    rows["residue"] = codes.vocabulary["name"].to_numpy(dtype=object)[letter]
    rows["residue_f1"] = letters[1].f1[letter, concept]
    return rows
