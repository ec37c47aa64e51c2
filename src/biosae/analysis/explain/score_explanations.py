"""The explanations of a run: tables/explanations.csv, tables/explanations_tried.csv and their summary."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.genes.gene_sets import GeneSets, hallmark_sets
from biosae.analysis.genes.score_genes import of_small_files
from biosae.analysis.results import Results

from .evidence import gather_evidence
from .explain import MIN_FIDELITY, Explanations, explain
from .naming import named

logger = logging.getLogger(__name__)

COLUMNS = ("name", "kind", "label", "terms", "fidelity", "null_fidelity", "firing_auroc", "fidelity_select")
SEPARATOR = ";"


def score_explanations(
    results: Results,
    table: anndata.AnnData,
    tops: np.ndarray,
    obs: pd.DataFrame,
    expression: anndata.AnnData | None,
    label_keys: Sequence[str],
    group_key: str | None,
    sets: GeneSets,
    families: dict[str, list[str]],
    seed: int,
) -> None:
    """Explain every feature of a run and name it.

    Parameters
    ----------
    table, expression
        Codes and expression of the samples that explanations are fitted and judged on.
    tops, obs
        Top samples of every feature, from `naming.top_samples`, and annotations, of all samples.
    """
    used = hallmark_sets() + of_small_files(sets)
    evidence = gather_evidence(table, expression, label_keys, group_key, used, families, seed)
    n = {name: int((evidence.part == name).sum()) for name in ("select", "test")}
    if min(n.values()) < 3 or len(evidence.of_part("train")) < 3:
        logger.warning("features are not explained: %d select and %d test samples are too few", *n.values())
        return
    found = explain(evidence, seed)
    first = evidence.labels[0].key if evidence.labels else None
    explanations = named(found.chosen, tops, obs, results.analyses, first)
    as_text = _as_text(explanations)
    results.analyses["explanation"] = as_text[list(COLUMNS)]
    results.samples["explanation"] = {
        **{"selected_on": "select", "n_selected_on": n["select"]},
        **{"reported_on": "test", "n_reported_on": n["test"]},
    }
    results.tables["explanations"] = as_text.reset_index()[["feature", *COLUMNS, "is_explained", "sentence"]]
    results.tables["explanations_tried"] = _tried_as_text(found)
    results.summary["explanations"] = summary(explanations)
    logger.info(said(results.summary["explanations"]))


def summary(explanations: pd.DataFrame) -> dict:
    """Numbers for analysis.json: features that were judged, those explained, by which kinds, and by chance."""
    judged = explanations[explanations["fidelity"].notna()]
    explained = judged[judged["is_explained"]]
    return {
        "n_features": len(judged),
        "n_explained": len(explained),
        "n_by_chance": int((judged["null_fidelity"] >= MIN_FIDELITY).sum()),
        "fidelity": None if judged.empty else float(judged["fidelity"].median()),
        "kinds": {str(kind): int(n) for kind, n in explained["kind"].value_counts().items()},
    }


def said(summary: dict) -> str:
    """The summary as one line."""
    kinds = [f"{n:,} by {_an(kind)}" for kind, n in list(summary["kinds"].items())[:4]]
    by = f" ({', '.join(kinds)})" if kinds else ""
    chance = f"with shuffled codes {summary['n_by_chance']:,}"
    return f"{summary['n_explained']:,} of {summary['n_features']:,} features are explained{by}; {chance}"


def _an(kind: str) -> str:
    words = {"depth": "sequencing depth", "mitochondrial": "mitochondrial share", "union": "several classes"}
    words |= {"class and gene": "a class and a gene", "set": "a gene set", "family": "a gene family"}
    return words.get(kind, f"a {kind}")


def _as_text(explanations: pd.DataFrame) -> pd.DataFrame:
    """Names of classes and genes joined, as they are written."""
    terms = [SEPARATOR.join(names) for names in explanations["names"]]
    kind = explanations["kind"].where(explanations["fidelity"].notna())
    return explanations.assign(label=explanations["key"], terms=terms, kind=kind)


def _tried_as_text(found: Explanations) -> pd.DataFrame:
    tried = found.tried.rename(columns={"key": "label"})
    tried["terms"] = [SEPARATOR.join(names) for names in tried.pop("names")]
    tried = tried[["feature", "kind", "label", "terms", "fidelity_select", "fidelity"]]
    return tried.sort_values(["feature", "fidelity_select"], ascending=[True, False], kind="stable")
