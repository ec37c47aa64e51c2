"""The scores of a run against annotated sites and domains of its proteins."""

from __future__ import annotations

import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.results import Results
from biosae.analysis.summary import SIGNIFICANT_Q, plain
from biosae.errors import ArtefactError, DataError
from biosae.features.token_codes import TokenCodes

from .marking import residue_scores

logger = logging.getLogger(__name__)

SPANS = "residues.csv"
"""The annotated stretches, which `biosae features` writes beside the features."""


def score_residues(
    results: Results, codes: TokenCodes, path: Path, table: anndata.AnnData, n_permutations: int, seed: int
) -> None:
    """Adds the analysis ``residues``, tables/residues.csv and the best feature of every concept."""
    part = table.obs["biosae_part"].astype(str).to_numpy()
    try:
        found = residue_scores(codes, read_stretches(path, table.obs_names), part, n_permutations, seed)
    except DataError as error:
        results.summary["residues"] = {"left_out": {"all": str(error)}}
        logger.warning("residues are not scored: %s", error)
        return
    results.add_selected("residues", found.best, part)
    results.tables["residues"] = found.table
    results.summary["residues"] = {
        "n_features": int(found.best["concept"].notna().sum()),
        "n_significant": int((found.best["q_value"] < SIGNIFICANT_Q).sum()),
        "concepts": [plain(row) for row in found.concepts.to_dict("records")],
        "left_out": found.left_out,
    }
    logger.info("residues: %d concepts", len(found.concepts))


def read_stretches(path: Path, names: pd.Index) -> pd.DataFrame:
    """``sample`` (row), ``start``, ``end`` and ``concept`` of residues.csv, whose samples are named."""
    try:
        table = pd.read_csv(path, dtype={"sample": str, "concept": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it again with `biosae features`") from error
    number = pd.Series(np.arange(len(names)), index=names)
    if not table["sample"].isin(names).all():
        raise ArtefactError(f"{path} names other proteins than the features; make both again with `biosae features`")
    return table.assign(sample=number[table["sample"]].to_numpy())
