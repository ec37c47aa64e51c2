"""The analyze stage: every score of every feature, as scores.csv with its tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.explain.score_explanations import score_explanations
from biosae.analysis.genes.expressed_genes import expressed_genes, gene_coverage, gmt_lines, reading
from biosae.analysis.genes.gene_scores import expression_scores, value_quartiles
from biosae.analysis.genes.gene_sets import read_families, read_gene_sets
from biosae.analysis.genes.score_genes import score_genes
from biosae.analysis.genes.token_sums import TokenSums, sum_over_tokens
from biosae.analysis.labels.continuous import is_continuous
from biosae.analysis.labels.score_labels import score_labels
from biosae.analysis.residues.domains import RESIDUE_ANNOTATIONS
from biosae.analysis.residues.protocols import protocol_of
from biosae.analysis.residues.score_residues import score_residues
from biosae.analysis.residues.shapes import is_of_residues, shape_scores
from biosae.artefacts import atomic_write, content_hash
from biosae.errors import ArtefactError, DataError, SettingError, require
from biosae.features.expression import EXPRESSION, expressing_cells, read_expression
from biosae.features.feature_table import MATRICES, feature_blocks, read_feature_table
from biosae.features.origin import read_origin
from biosae.features.token_codes import TokenCodes

from .density import density, density_histogram
from .geometry import decoder_map, geometry_scores, read_decoder
from .results import Results, write_results

logger = logging.getLogger(__name__)

MAX_SAMPLES = 15_000  # of a part: an AUROC of 0.8 of a class of 1 % has a standard error of 0.02 there
MIN_OF_CLASS = 100  # samples of a rare class that stay in the draw
MAX_EMBEDDED = 50_000  # samples that the principal components of their embeddings are computed from


def score_features(
    features_h5ad: Path,
    token_codes: Path,
    out: Path,
    label_keys: list[str],
    group_key: str | None,
    run_label_scoring: bool,
    run_gene_scoring: bool,
    run_expression_scoring: bool,
    run_density_scoring: bool,
    run_explanations: bool,
    seed: int,
    n_permutations: int,
    gene_sets: Sequence[Path | str] = (),
    gene_families: Sequence[Path | str] = (),
    residue_protocol: str = "domains",
    map_decoder: bool = False,
    max_samples: int | None = MAX_SAMPLES,
) -> pd.DataFrame:
    """Write scores.csv, tables/ and analysis.json into ``out`` and return the content of scores.csv.

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
    gene_families
        GMT or JSON files with families beside the usual ones.
    residue_protocol
        What recall of annotated residues counts: ``domains``, ``residues`` or ``interplm``.
    map_decoder
        A UMAP of the decoder directions (extra ``sc``).
    max_samples
        Samples of each part that scores of samples (labels, expressed genes, explanations) are computed on; of more,
        as many are drawn. None takes all, in memory that grows with them. Densities and sums over tokens are always
        of all held-out samples.

    Raises
    ------
    DataError
        If a column or a gene set file does not exist, or no sample was held out.
    SettingError
        If ``n_permutations`` is below 1.
    MissingExtraError
        If ``map_decoder`` lacks its library.
    ArtefactError
        If features and token codes are missing or do not belong together.
    """
    table = read_feature_table(features_h5ad, content=())
    _check_columns(table, label_keys, group_key)
    _check_settings(n_permutations, map_decoder, max_samples, residue_protocol)
    own_sets, families = read_gene_sets(gene_sets), read_families(gene_families)
    rows, results, chance = held_out_rows(table), Results(), (n_permutations, seed)
    tokens, annotations = TokenTable(Path(token_codes), table, rows), Path(out) / RESIDUE_ANNOTATIONS
    if run_density_scoring:
        _score_structure(results, Path(features_h5ad), rows, map_decoder, seed)
    if run_gene_scoring and tokens.have_names:
        score_genes(results, tokens.sums, tokens.codes.vocabulary, own_sets, families, rows, *chance)
    if run_expression_scoring and tokens.have_names:
        scores = expression_scores(tokens.sums).join(value_quartiles(tokens.codes, rows))
        results.add("expression", scores, rows)
    if run_density_scoring and is_of_residues(tokens.codes):
        of = table.obs["biosae_part"].astype(str).to_numpy()
        results.add("shape", shape_scores(tokens.codes, np.isin(np.arange(len(of)), rows), of == "train"), rows)
    drawn = drawn_samples(table.obs, label_keys, max_samples, seed)
    sample = read_feature_table(features_h5ad, ("X",), drawn)
    path = Path(features_h5ad).with_name(EXPRESSION)
    is_read = path.exists() and (run_expression_scoring or run_explanations)
    expression = read_expression(path, table, drawn) if is_read else None
    if run_expression_scoring and expression is not None:
        _score_expressed(results, sample, expression, first_label(table.obs, label_keys), group_key, seed)
        results.tables["gene_coverage"] = gene_coverage(expression.var, expressing_cells(path), tokens.codes)
    if run_label_scoring:
        score_labels(results, sample[held_out_rows(sample)], label_keys, group_key, *chance)
    if "gene_coverage" in results.tables:
        results.summary["expressed"] |= reading(results.tables["gene_coverage"], _genes_of_markers(results))
    if run_label_scoring and annotations.exists():
        score_residues(results, tokens.codes, annotations, table, *chance, residue_protocol)
    if run_explanations:
        known = (sample, expression, label_keys, group_key, own_sets, families)
        score_explanations(results, Path(features_h5ad), tokens.codes, *known, seed)
    settings = {"label_keys": list(label_keys), "group_key": group_key, "seed": seed}
    settings |= {"n_permutations": n_permutations, "max_samples": max_samples}
    settings |= {"gene_sets": [str(path) for path in gene_sets], "gene_families": [str(path) for path in gene_families]}
    write_results(out, results, table, settings, content_hash(features_h5ad))
    _write_gmt(Path(out) / "tables" / "expressed_genes.gmt", results)
    return results.scores()


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The token codes of a run, which are opened, and summed over held-out samples, when a score first needs them.

    Attributes
    ----------
    folder
        The token codes.
    table, rows
        The feature table, and the rows of the samples to score.
    """

    folder: Path
    table: anndata.AnnData
    rows: np.ndarray

    @cached_property
    def codes(self) -> TokenCodes:
        """Raises `ArtefactError` unless the same SAE made them from the same samples as the feature table."""
        codes = TokenCodes(self.folder)
        same_shape = (codes.n_samples, codes.d_sae) == self.table.shape
        if not same_shape or codes.sae_hash != self.table.uns["biosae"]["sae_hash"]:
            message = f"{self.folder} and features.h5ad come from different runs"
            raise ArtefactError(f"{message}; make both again with the features stage")
        return codes

    @cached_property
    def sums(self) -> TokenSums:
        return sum_over_tokens(self.codes, self.rows)

    @property
    def have_names(self) -> bool:
        """False where a sample is one token, as in files of embeddings: gene scores then repeat the label scores."""
        return len(self.codes.vocabulary) > 1


def held_out_rows(table: anndata.AnnData) -> np.ndarray:
    """Rows of the samples to score: held out from training, with at least one token.

    Raises
    ------
    DataError
        If there are none.
    """
    has_tokens = table.obs["biosae_n_tokens"].to_numpy() > 0
    rows = np.flatnonzero(has_tokens & (table.obs["biosae_part"].astype(str) != "train").to_numpy())
    if len(rows) == 0:
        message = "no sample with tokens was held out from training, so nothing can be scored; "
        raise DataError(message + "train with a larger held-out share of the split")
    return rows


def drawn_samples(obs: pd.DataFrame, label_keys: Sequence[str], max_samples: int | None, seed: int) -> np.ndarray:
    """Return the rows of samples with tokens: all, or of a larger part a draw that keeps its rare classes.

    Of a class with fewer than `MIN_OF_CLASS` samples in the draw, as many are taken, or all that there are.
    """
    part, generator = obs["biosae_part"].astype(str).to_numpy(), np.random.default_rng(seed)
    has_tokens = obs["biosae_n_tokens"].to_numpy() > 0
    drawn = []
    for name in np.unique(part[has_tokens]):
        rows = np.flatnonzero(has_tokens & (part == name))
        if max_samples is not None and len(rows) > max_samples:
            shuffled = generator.permutation(rows)
            rare = [_first_of_each_class(obs[key], shuffled) for key in label_keys if not is_continuous(obs[key])]
            logger.info("scores of samples are of %s of the %s %s samples", f"{max_samples:,}", f"{len(rows):,}", name)
            rows = np.unique(np.concatenate([shuffled[:max_samples], *rare]))
        drawn.append(rows)
    return np.sort(np.concatenate(drawn))


def _first_of_each_class(label: pd.Series, rows: np.ndarray) -> np.ndarray:
    label = label.iloc[rows]
    number = label.groupby(label, observed=True).cumcount().to_numpy()  # places of missing values are numbered, too
    return rows[(number < MIN_OF_CLASS) & label.notna().to_numpy()]


def _score_structure(results: Results, features_h5ad: Path, rows: np.ndarray, map_decoder: bool, seed: int) -> None:
    """Density, and geometry where the SAE lies beside the features."""
    found = density(feature_blocks(features_h5ad, MATRICES, rows))
    results.add("density", found, rows)
    results.tables["density"] = density_histogram(found)
    results.summary["density"] = found["kind"].value_counts().to_dict()
    sae = features_h5ad.with_name("sae.safetensors")
    if sae.exists():
        results.add("geometry", _geometry(features_h5ad, rows, sae, map_decoder, seed), rows)


def first_label(obs: pd.DataFrame, label_keys: Sequence[str]) -> str | None:
    """The first of the columns that holds classes, None where none does."""
    return next((key for key in label_keys if not is_continuous(obs[key])), None)


def _score_expressed(
    results: Results,
    table: anndata.AnnData,
    expression: anndata.AnnData,
    label_key: str | None,
    group_key: str | None,
    seed: int,
) -> None:
    found = expressed_genes(table, expression, label_key, group_key, seed)
    results.analyses["expressed"] = found.scores
    results.samples["expressed"] = found.samples()
    results.summary["expressed"] = found.summary() | {"label": label_key}
    results.tables["expressed_genes"] = found.table


def _genes_of_markers(results: Results) -> list[str]:
    """Genes expressed where the best feature of each class fires."""
    classes = [row for label in results.summary.get("labels", {}).values() for row in label["classes"]]
    names = results.analyses["expressed"]["top_genes"]
    lists = [names[row["feature"]].split(";") for row in classes if isinstance(names[row["feature"]], str)]
    return sorted({name for genes in lists for name in genes})


def _write_gmt(path: Path, results: Results) -> None:
    """Write the significant genes by expression of every feature as gene sets."""
    path.unlink(missing_ok=True)
    if "expressed_genes" not in results.tables:
        return
    named = results.tables.get("explanations")
    names = {} if named is None else dict(zip(named["feature"], named["name"], strict=True))
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in gmt_lines(results.tables["expressed_genes"], names)))


def _geometry(features_h5ad: Path, rows: np.ndarray, sae: Path, map_decoder: bool, seed: int) -> pd.DataFrame:
    if content_hash(sae) != read_origin(features_h5ad)["sae_hash"]:
        raise ArtefactError(f"the features were not made with {sae}; make them again with the features stage")
    W_dec = read_decoder(sae)
    if len(rows) > MAX_EMBEDDED:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MAX_EMBEDDED, replace=False))
    embedding = read_feature_table(features_h5ad, ("obsm",), rows).obsm.get("X_model")
    is_same_space = embedding is not None and embedding.shape[1] == W_dec.shape[1]
    scores = geometry_scores(W_dec, np.asarray(embedding) if is_same_space else None)
    if map_decoder:
        logger.info("mapping the decoder directions")
        scores[["map_x", "map_y"]] = decoder_map(W_dec, seed)
    return scores


def _check_columns(table: anndata.AnnData, label_keys: list[str], group_key: str | None) -> None:
    for key in [*label_keys, *([group_key] if group_key else [])]:
        if key not in table.obs:
            raise DataError(f"the features have no column {key}; they have {', '.join(map(str, table.obs.columns))}")


def _check_settings(n_permutations: int, map_decoder: bool, max_samples: int | None, residue_protocol: str) -> None:
    """Refuse, before the work starts, what is not possible."""
    if n_permutations < 1:
        raise SettingError(f"n_permutations must be at least 1, got {n_permutations}", "n_permutations")
    if max_samples is not None and max_samples < MIN_OF_CLASS:
        message = f"max_samples must be at least {MIN_OF_CLASS}, or None for all samples, got {max_samples}"
        raise SettingError(message, argument="max_samples")
    protocol_of(residue_protocol)
    if map_decoder:
        require("umap", extra="sc")
