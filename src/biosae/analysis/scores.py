"""The analyze stage: every score of every feature, as scores.csv with its tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.artefacts import atomic_write, content_hash, write_json
from biosae.errors import ArtefactError, DataError
from biosae.features.table import read_table
from biosae.features.token_codes import TokenCodes

from .continuous import continuous_scores, is_continuous
from .density import density
from .enrichment import enrichment
from .expression import expression_scores, value_quartiles
from .families import family_members, family_scores
from .gene_sets import GeneSets, packaged_gene_sets, read_gene_sets
from .genes import gene_scores, gene_table
from .geometry import geometry_scores, read_decoder
from .labels import LabelScores, class_names, label_scores
from .replicates import MIN_DONORS, donor_scores
from .summary import continuous_summary, enrichment_summary, label_summary
from .token_sums import TokenSums, sum_over_tokens

logger = logging.getLogger(__name__)


@dataclass
class Results:
    """What the analyses have found so far.

    Attributes
    ----------
    analyses
        Analysis name -> one row a feature: the columns of scores.csv.
    tables
        Name -> long table in ``tables/``.
    summary
        What analysis.json says of each analysis.
    """

    analyses: dict[str, pd.DataFrame] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    summary: dict = field(default_factory=dict)

    def scores(self) -> pd.DataFrame:
        if not self.analyses:
            return pd.DataFrame()
        return pd.concat(self.analyses, axis=1, names=["analysis", "metric"])


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
    gene_sets: Sequence[Path | str] = (),
) -> pd.DataFrame:
    """Writes scores.csv, tables/ and analysis.json into ``out`` and gives the content of scores.csv.

    Scores are of samples that the SAE was not trained on and that have tokens. Decoder geometry is
    scored along with density when sae.safetensors lies beside the features.

    Parameters
    ----------
    label_keys
        Columns of obs to score features against; one that cannot be scored is named in the log and
        in analysis.json.
    group_key
        Column of obs with the donor or batch: labels are shuffled within it, and donor-level tests
        compare its values.
    gene_sets
        GMT or JSON files tested along with the sets that come with the package.

    Raises
    ------
    DataError
        If a column or a gene set file does not exist, or no sample was held out.
    ArtefactError
        If features and token codes are missing or do not belong together.
    """
    table = read_table(features_h5ad)
    _check_columns(table, label_keys, group_key)
    sets = packaged_gene_sets() + read_gene_sets(gene_sets) if run_gene_scoring else None
    rows = held_out_rows(table)
    results = Results()
    if run_density_scoring:
        results.analyses["density"] = density(table, rows)
        results.summary["density"] = results.analyses["density"]["kind"].value_counts().to_dict()
        _score_geometry(results, table, Path(features_h5ad).with_name("sae.safetensors"))
    if run_gene_scoring or run_expression_scoring:
        codes = _matching_codes(TokenCodes(token_codes), table)
        sums = sum_over_tokens(codes, rows)
        if run_gene_scoring:
            _score_genes(results, sums, codes.vocabulary, sets, seed)
        if run_expression_scoring:
            results.analyses["expression"] = expression_scores(sums).join(value_quartiles(codes, rows))
    if run_label_scoring:
        _score_labels(results, table[rows], label_keys, group_key, n_permutations, seed)
    scores = results.scores()
    _write(out, scores, results.tables)
    settings = {"label_keys": list(label_keys), "group_key": group_key, "seed": seed, "n_permutations": n_permutations}
    settings["gene_sets"] = [str(path) for path in gene_sets]
    write_json(Path(out) / "analysis.json", _record(table, results.summary, settings, content_hash(features_h5ad)))
    return scores


def held_out_rows(table: anndata.AnnData) -> np.ndarray:
    """Samples that scores are of: those that have tokens and are not of the part ``train``.

    Raises
    ------
    DataError
        If there are none.
    """
    has_tokens = table.obs["biosae_n_tokens"].to_numpy() > 0
    rows = np.flatnonzero(has_tokens & (table.obs["biosae_part"].astype(str) != "train").to_numpy())
    if len(rows) == 0:
        message = "no sample with tokens was held out from training, so nothing can be scored; "
        raise DataError(message + "train with a larger data.preprocess.split")
    return rows


def _score_geometry(results: Results, table: anndata.AnnData, sae: Path) -> None:
    if not sae.exists():
        return
    if content_hash(sae) != table.uns["biosae"]["sae_hash"]:
        raise ArtefactError(f"the features were not made with {sae}; make them again with `biosae features`")
    W_dec = read_decoder(sae)
    embedding = table.obsm.get("X_model")
    is_same_space = embedding is not None and embedding.shape[1] == W_dec.shape[1]
    results.analyses["geometry"] = geometry_scores(W_dec, np.asarray(embedding) if is_same_space else None)


def _score_genes(results: Results, sums: TokenSums, vocabulary: pd.DataFrame, sets: GeneSets, seed: int) -> None:
    """Genes, and where tokens are genes also their families and sets."""
    results.tables["genes"] = gene_table(sums, vocabulary)
    results.analyses["genes"] = gene_scores(sums, results.tables["genes"])
    symbols = vocabulary.set_index("token")["name"].reindex(range(len(sums.n_tokens))).fillna("").to_numpy(dtype=object)
    seen = symbols[sums.n_tokens > 0]
    if any(members.any() for members in family_members(seen, {}).values()):
        results.analyses["families"] = family_scores(sums.total, sums.n_tokens, symbols, {})
    found = enrichment(sums.total, sums.n_tokens, symbols, sets, seed)
    results.summary["enrichment"] = enrichment_summary(found)
    if found.n_sets == 0:
        logger.warning("no gene set has enough of the %d genes in these samples, so none is tested", len(seen))
        return
    results.analyses["enrichment"] = found.scores
    results.tables["enrichment"] = found.table
    logger.info("gene sets: %d tests, %d genes in the background", found.n_tests, found.n_background)


def _score_labels(
    results: Results,
    table: anndata.AnnData,
    label_keys: list[str],
    group_key: str | None,
    n_permutations: int,
    seed: int,
) -> None:
    codes, obs = table.X.tocsr(), table.obs
    part = obs["biosae_part"].astype(str).to_numpy()
    every, genes = [], results.analyses.get("genes")
    summary = {"labels": {}, "continuous": {}, "labels_left_out": {}}
    for key in label_keys:
        # Shuffling a label within itself changes nothing, so the group's own column is shuffled freely.
        group = None if group_key in (None, key) else obs[group_key].astype(str).to_numpy()
        try:
            if is_continuous(obs[key]):
                found = continuous_scores(codes, obs[key], part, group, n_permutations, seed)
                results.analyses[f"label:{key}"] = found
                summary["continuous"][key] = continuous_summary(found)
                continue
            scores = label_scores(codes, obs[key], part, group, n_permutations, seed)
        except DataError as error:
            summary["labels_left_out"][key] = str(error)
            logger.warning("%s is not scored: %s", key, error)
            continue
        results.analyses[f"label:{key}"] = scores.best
        every.append(scores.every.assign(label=key))
        summary["labels"][key] = label_summary(scores, genes)
        _tell(key, scores)
        if group is not None:
            _score_donors(results, table[part == "test"], key, group[part == "test"], scores)
    if every:
        results.tables["labels"] = pd.concat(every, ignore_index=True)[list(LABEL_COLUMNS)]
    results.summary |= summary


LABEL_COLUMNS = (
    *("feature", "label", "class", "n_positive_select", "n_positive_test", "auroc_select", "auroc"),
    *("average_precision", "f1", "threshold"),
)
"""Columns of tables/labels.csv."""


def _score_donors(results: Results, test: anndata.AnnData, key: str, donor: np.ndarray, scores: LabelScores) -> None:
    """Donor-level tests of the classes that the select samples chose, where there are enough donors."""
    label = class_names(test.obs[key])
    known = label != None  # noqa: E711, elementwise
    if len(np.unique(donor[known])) >= MIN_DONORS:
        chosen = scores.best["class"].to_numpy(dtype=object)
        results.analyses[f"donors:{key}"] = donor_scores(test.X.tocsr()[known], label[known], donor[known], chosen)


def _tell(key: str, scores: LabelScores) -> None:
    for name, reason in scores.left_out.items():
        logger.warning("%s=%s is not scored: %s", key, name, reason)
    logger.info("%s: %d tests", key, scores.n_tests)


def _record(table: anndata.AnnData, summary: dict, settings: dict, features_hash: str) -> dict:
    """What analysis.json holds."""
    return {
        "format": 1,
        "features_hash": features_hash,
        "settings": settings,
        "split": table.obs["biosae_part"].astype(str).value_counts().to_dict(),
        "n_samples_without_tokens": int((table.obs["biosae_n_tokens"] == 0).sum()),
        "n_tests": sum(entry["n_tests"] for entry in summary.get("labels", {}).values()),
        "summary": summary,
    }


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
