"""The analyze stage: every score of every feature, as scores.csv with its tables."""

from __future__ import annotations

import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.artefacts import atomic_write, content_hash, write_json
from biosae.errors import ArtefactError, DataError
from biosae.features.table import read_table
from biosae.features.token_codes import TokenCodes

from .density import density
from .expression import expression_scores
from .genes import gene_scores, gene_table
from .labels import LabelScores, label_scores
from .token_sums import sum_over_tokens

logger = logging.getLogger(__name__)

Analyses = dict[str, pd.DataFrame]
"""Analysis name -> one row a feature."""


def analyze(
    features_h5ad: Path,
    token_codes: Path,
    out: Path,
    label_keys: list[str],
    group_key: str | None,
    run_label_scoring: bool,
    run_gene_scoring: bool,
    run_expression_scoring: bool,
    run_density_scoring: bool,
    seed: int,
    n_permutations: int,
) -> pd.DataFrame:
    """Writes scores.csv, tables/ and analysis.json into ``out`` and gives the content of scores.csv.

    Parameters
    ----------
    label_keys
        Columns of obs to score features against; one that cannot be scored is named in the log and
        in analysis.json.
    group_key
        Column of obs with the donor or batch, within which labels are shuffled.

    Raises
    ------
    DataError
        If a column does not exist.
    ArtefactError
        If features and token codes are missing or do not belong together.
    """
    table = read_table(features_h5ad)
    _check_columns(table, label_keys, group_key)
    rows = np.flatnonzero(table.obs["biosae_n_tokens"].to_numpy() > 0)
    analyses: Analyses = {}
    summary: dict = {}
    tables: dict[str, pd.DataFrame] = {}
    if run_density_scoring:
        analyses["density"] = density(table, rows)
        summary["density"] = analyses["density"]["kind"].value_counts().to_dict()
    if run_gene_scoring or run_expression_scoring:
        codes = _matching_codes(TokenCodes(token_codes), table)
        sums = sum_over_tokens(codes)
        if sums is None:
            raise ArtefactError(f"{token_codes} holds no token; make it again with `biosae features`")
        if run_gene_scoring:
            tables["genes"] = gene_table(sums, codes.vocabulary)
            analyses["genes"] = gene_scores(sums, tables["genes"])
        if run_expression_scoring:
            analyses["expression"] = expression_scores(sums)
    if run_label_scoring:
        scored, skipped = _score_labels(table, rows, label_keys, group_key, n_permutations, seed)
        analyses |= {f"label:{key}": scores.best for key, scores in scored.items()}
        if scored:
            every = [scores.every.assign(label=key) for key, scores in scored.items()]
            tables["labels"] = pd.concat(every, ignore_index=True)[list(LABEL_COLUMNS)]
        summary["labels"] = {key: _summarise(scores, analyses.get("genes")) for key, scores in scored.items()}
        summary["labels_left_out"] = skipped
    scores = pd.concat(analyses, axis=1, names=["analysis", "metric"]) if analyses else pd.DataFrame()
    settings = {"label_keys": list(label_keys), "group_key": group_key, "seed": seed, "n_permutations": n_permutations}
    _write(out, scores, tables)
    content = {
        "format": 1,
        "features_hash": content_hash(features_h5ad),
        "settings": settings,
        "split": table.obs["biosae_part"].astype(str).value_counts().to_dict(),
        "n_samples_without_tokens": int(table.n_obs - len(rows)),
        "n_tests": sum(entry["n_tests"] for entry in summary.get("labels", {}).values()),
        "summary": summary,
    }
    write_json(Path(out) / "analysis.json", content)
    return scores


LABEL_COLUMNS = (
    *("feature", "label", "class", "n_positive_select", "n_positive_test", "auroc_select", "auroc"),
    *("average_precision", "f1", "threshold"),
)
MARKER_COLUMNS = (
    *("class", "feature", "auroc_select", "auroc", "auroc_low", "auroc_high", "null_auroc", "p_value", "q_value"),
    "n_positive_test",
)
SIGNIFICANT_Q = 0.05
GENES_IN_SUMMARY = 5


def _score_labels(
    table: anndata.AnnData,
    rows: np.ndarray,
    label_keys: list[str],
    group_key: str | None,
    n_permutations: int,
    seed: int,
) -> tuple[dict[str, LabelScores], dict[str, str]]:
    """Scores of each label, and the reason for each label that cannot be scored."""
    scored, skipped = {}, {}
    codes, obs = table.X.tocsr()[rows], table.obs.iloc[rows]
    part = obs["biosae_part"].astype(str).to_numpy()
    for key in label_keys:
        # Shuffling a label within itself changes nothing, so the group's own column is shuffled freely.
        group = None if group_key in (None, key) else obs[group_key].astype(str).to_numpy()
        try:
            scored[key] = label_scores(codes, obs[key], part, group, n_permutations, seed)
        except DataError as error:
            skipped[key] = str(error)
            logger.warning("%s is not scored: %s", key, error)
            continue
        for name, reason in scored[key].left_out.items():
            logger.warning("%s=%s is not scored: %s", key, name, reason)
        logger.info("%s: %d tests", key, scored[key].n_tests)
    return scored, skipped


def _summarise(scores: LabelScores, genes: pd.DataFrame | None) -> dict:
    """What a reader wants first: the marker of every class with its held-out score and null."""
    markers = scores.markers[list(MARKER_COLUMNS)].to_dict("records")
    for marker in markers:
        named = genes.loc[marker["feature"], "top_genes"] if genes is not None else None
        marker["top_genes"] = named.split(";")[:GENES_IN_SUMMARY] if isinstance(named, str) else []
    return {
        "n_features": int(scores.best["class"].notna().sum()),
        "n_significant": int((scores.best["q_value"] < SIGNIFICANT_Q).sum()),
        "n_tests": scores.n_tests,
        "classes": [_plain(marker) for marker in markers],
        "classes_left_out": scores.left_out,
    }


def _plain(record: dict) -> dict:
    """JSON has no NaN: undefined numbers are null."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in record.items()}


def _check_columns(table: anndata.AnnData, label_keys: list[str], group_key: str | None) -> None:
    for key in [*label_keys, *([group_key] if group_key else [])]:
        if key not in table.obs:
            raise DataError(f"the features have no column {key}; they have {', '.join(map(str, table.obs.columns))}")


def _matching_codes(codes: TokenCodes, table: anndata.AnnData) -> TokenCodes:
    """The token codes, if the same SAE made them from the same samples as the feature table."""
    same_shape = (codes.n_samples, codes.d_sae) == table.shape
    if not same_shape or codes.sae_hash != table.uns["biosae"]["sae_hash"]:
        message = f"{codes.folder} and features.h5ad come from different runs; make both again with `biosae features`"
        raise ArtefactError(message)
    return codes


def _write(out: Path, scores: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> None:
    for path, content, index in (
        (Path(out) / "scores.csv", scores, True),
        *((Path(out) / "tables" / f"{name}.csv", content, False) for name, content in tables.items()),
    ):
        with atomic_write(path) as temporary:
            content.to_csv(temporary, index=index, float_format="%.9g")  # what float32 needs
