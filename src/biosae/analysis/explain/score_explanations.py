"""The explanations of a run: tables/explanations.csv, tables/explanations_tried.csv and their summary."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.genes.gene_sets import GeneSets, hallmark_sets
from biosae.analysis.genes.score_genes import of_small_files
from biosae.analysis.residues.domains import RESIDUE_ANNOTATIONS, read_residue_annotations
from biosae.analysis.results import Results
from biosae.features.feature_table import feature_blocks, read_feature_table
from biosae.features.token_codes import TokenCodes

from .evidence import gather_evidence
from .explain import MIN_FIDELITY, Explanations, explain
from .naming import named, top_samples
from .residue_evidence import gather_residues, have_residues

logger = logging.getLogger(__name__)

COLUMNS = ("name", "kind", "label", "terms", "fidelity", "null_fidelity", "firing_auroc", "fidelity_select")
SEPARATOR = ";"


def score_explanations(
    results: Results,
    features_h5ad: Path,
    codes: TokenCodes,
    table: anndata.AnnData,
    expression: anndata.AnnData | None,
    label_keys: Sequence[str],
    group_key: str | None,
    sets: GeneSets,
    families: dict[str, list[str]],
    seed: int,
) -> None:
    """Explain every feature of a run and name it.

    What is explained is the pooled code of a sample, and for proteins whose tokens are residues the code of a residue.

    Parameters
    ----------
    features_h5ad, codes
        The features of all samples, and the codes of their tokens.
    table, expression
        Codes and expression of the samples that explanations are fitted and judged on.
    """
    blocks = feature_blocks(features_h5ad, ("X",), np.arange(codes.n_samples))
    tops, _ = top_samples(block.X for block in blocks)
    whole = read_feature_table(features_h5ad, ())
    if have_residues(whole, codes):
        annotations = features_h5ad.with_name(RESIDUE_ANNOTATIONS)
        sites = read_residue_annotations(annotations, whole.obs_names) if annotations.exists() else None
        evidence = gather_residues(whole, codes, sites, label_keys, seed)
    else:
        used = hallmark_sets() + of_small_files(sets)
        evidence = gather_evidence(table, expression, label_keys, group_key, used, families, seed)
    n = {name: int((evidence.part == name).sum()) for name in ("select", "test")}
    if min(n.values()) < 3 or len(evidence.of_part("train")) < 3:
        logger.warning("features are not explained: %d select and %d test samples are too few", *n.values())
        return
    found = explain(evidence, seed)
    first = next((label.key for label in evidence.labels if label.key in whole.obs), None)
    explanations = named(found.chosen, tops, whole.obs, results.analyses, first)
    as_text = _as_text(explanations)
    results.analyses["explanation"] = as_text[list(COLUMNS)]
    results.samples["explanation"] = {
        **{"selected_on": "select", "n_selected_on": n["select"]},
        **{"reported_on": "test", "n_reported_on": n["test"]},
    }
    results.tables["explanations"] = as_text.reset_index()[["feature", *COLUMNS, "is_explained", "sentence"]]
    results.tables["explanations_tried"] = _tried_as_text(found)
    unit = "residue" if evidence.gene_kind == "k-mer" else "sample"
    results.summary["explanations"] = summary(explanations) | {"unit": unit}
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
    words = {
        "k-mer": "a few residues in a row",
        "amino acid": "an amino acid",
        "position": "the position",
        "depth": "sequencing depth",
        "mitochondrial": "mitochondrial share",
        "union": "several classes",
    }
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
