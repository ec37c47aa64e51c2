"""Features that come back when the SAE is trained again with another seed or other samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from biosae.artefacts import atomic_write
from biosae.errors import DataError
from biosae.features.feature_table import read_feature_table

from .geometry import read_decoder
from .results import SCORES, read_analysis, read_scores, write_analysis

MAX_SAMPLES = 20_000  # that codes are compared on
MIN_COSINE = 0.7
MIN_CORRELATION = 0.7
MIN_SHARE_OF_RUNS = 0.8  # four of five runs


@dataclass(frozen=True, eq=False)
class Match:
    """The partner of every feature in another run, each feature having at most one.

    Attributes
    ----------
    partner
        ``(d_sae,)`` feature of the other run; -1 without one (the other run has fewer features).
    cosine
        ``(d_sae,)`` of the two decoder rows; NaN without a partner.
    """

    partner: np.ndarray
    cosine: np.ndarray


def match_features(W_dec: np.ndarray, other: np.ndarray) -> Match:
    """Pairs the features so that the summed cosine of their decoder rows is largest (Hungarian method).

    Parameters
    ----------
    W_dec, other
        ``(d_sae, d_in)`` and ``(d_sae_other, d_in)`` unit rows.

    Raises
    ------
    DataError
        If the runs read activations of different width.
    """
    if W_dec.shape[1] != other.shape[1]:
        message = f"features of width {W_dec.shape[1]} and {other.shape[1]} cannot be matched"
        raise DataError(f"{message}; compare runs on the same model")
    cosine = W_dec @ other.T
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    partner = np.full(len(W_dec), -1)
    partner[rows] = columns
    reached = np.full(len(W_dec), np.nan)
    reached[rows] = cosine[rows, columns]
    return Match(partner, reached)


def chance_cosine(W_dec: np.ndarray, other: np.ndarray, seed: int) -> float:
    """Mean matched cosine when the other run's features point in random directions."""
    drawn = np.random.default_rng(seed).normal(size=other.shape)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return float(np.nanmean(match_features(W_dec, drawn).cosine))


def column_correlation(codes: sparse.spmatrix, other: sparse.spmatrix) -> np.ndarray:
    """``(n_columns,)`` Pearson correlation of the columns of two sparse matrices; NaN where one is constant."""
    n = codes.shape[0]
    codes, other = sparse.csc_matrix(codes, dtype=np.float64), sparse.csc_matrix(other, dtype=np.float64)
    sums = [np.asarray(matrix.sum(axis=0)).ravel() for matrix in (codes, other, codes.multiply(other))]
    squares = [np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel() for matrix in (codes, other)]
    variations = [np.maximum(square - total**2 / n, 0) for square, total in zip(squares, sums[:2], strict=True)]
    scale = np.sqrt(variations[0] * variations[1])
    together = sums[2] - sums[0] * sums[1] / n
    return np.divide(together, scale, out=np.full(len(scale), np.nan), where=scale > 1e-12)


def stability_scores(
    W_dec: np.ndarray, codes: sparse.spmatrix, others: list[tuple[np.ndarray, sparse.spmatrix]]
) -> pd.DataFrame:
    """One row per feature: the columns of ``stability`` in docs/formats.md.

    A feature comes back in a run when its partner has a decoder cosine and a correlation of pooled
    codes of at least 0.7; it is stable when it does in four runs of five.

    Parameters
    ----------
    W_dec, codes
        Decoder ``(d_sae, d_in)`` and pooled codes ``(n_samples, d_sae)`` of the run.
    others
        The same of the other runs, on the same samples.
    """
    if not others:
        raise DataError("stability needs at least one other run to compare with")
    cosines, correlations = [], []
    for other_W_dec, other_codes in others:
        if other_codes.shape[0] != codes.shape[0]:
            message = f"the runs have {codes.shape[0]} and {other_codes.shape[0]} samples"
            raise DataError(f"{message}; run the features stage of all runs on the same data")
        match = match_features(W_dec, other_W_dec)
        found = match.partner >= 0
        correlation = np.full(len(W_dec), np.nan)
        pairs = codes.tocsc()[:, np.flatnonzero(found)], other_codes.tocsc()[:, match.partner[found]]
        correlation[found] = column_correlation(*pairs)
        cosines.append(match.cosine)
        correlations.append(correlation)
    cosines, correlations = np.array(cosines), np.array(correlations)  # (n_runs, d_sae)
    comes_back = ((cosines >= MIN_COSINE) & (correlations >= MIN_CORRELATION)).mean(axis=0)
    columns = {
        "n_runs": len(others),
        "cosine": np.nan_to_num(cosines).mean(axis=0),
        "correlation": np.nan_to_num(correlations).mean(axis=0),
        "comes_back": comes_back,
        "stable": comes_back >= MIN_SHARE_OF_RUNS,
    }
    return pd.DataFrame(columns).rename_axis("feature")


def analyze_stability(folder: Path, others: list[Path], seed: int) -> pd.DataFrame:
    """Add the columns ``stability`` to a run's scores.csv and their summary to its analysis.json.

    Codes are compared on the samples that no run was trained on.

    Parameters
    ----------
    folder, others
        Run folders with sae.safetensors and features.h5ad; the first also with scores.csv.

    Raises
    ------
    ArtefactError
        If a file is missing; the message names the stage that makes it.
    DataError
        If the runs are of different models, layers or samples.
    """
    record, scores = read_analysis(folder), read_scores(folder)
    runs = [
        (read_decoder(Path(run) / "sae.safetensors"), read_feature_table(Path(run) / "features.h5ad", ()))
        for run in (folder, *others)
    ]
    tables = [table for _, table in runs]
    _check_same_host(tables)
    codes = _common_codes([Path(run) / "features.h5ad" for run in (folder, *others)], tables, seed)
    found = stability_scores(
        runs[0][0], codes[0], [(W_dec, own) for (W_dec, _), own in zip(runs[1:], codes[1:], strict=True)]
    )
    found.columns = pd.MultiIndex.from_product([["stability"], found.columns])
    kept = scores.drop(columns="stability", level=0, errors="ignore")
    scores = pd.concat([kept, found], axis=1).rename_axis("feature")
    with atomic_write(Path(folder) / SCORES) as temporary:
        scores.to_csv(temporary, float_format="%.9g")
    record.setdefault("summary", {})["stability"] = {
        "n_runs": len(others),
        "n_stable": int(found["stability", "stable"].sum()),
        "cosine": float(found["stability", "cosine"].mean()),
        "chance_cosine": float(np.mean([chance_cosine(runs[0][0], W_dec, seed) for W_dec, _ in runs[1:]])),
    }
    write_analysis(folder, record)
    return scores


def _check_same_host(tables: list[anndata.AnnData]) -> None:
    hosts = {(str(table.uns["biosae"]["model"]), int(table.uns["biosae"]["layer"])) for table in tables}
    if len(hosts) > 1:
        named = ", ".join(f"{model} layer {layer}" for model, layer in sorted(hosts))
        raise DataError(f"features of different hosts cannot be matched: {named}")


def _common_codes(paths: list[Path], tables: list[anndata.AnnData], seed: int) -> list[sparse.csr_matrix]:
    """Pooled codes on the samples that all runs have and none was trained on, in one order; `MAX_SAMPLES` at most."""
    held_out = [table.obs_names[table.obs["biosae_part"].astype(str) != "train"] for table in tables]
    common = held_out[0]
    for names in held_out[1:]:
        common = common.intersection(names, sort=False)
    if len(common) < 2:
        message = "the runs share no two held-out samples"
        raise DataError(f"{message}; train them on the same data with the same split and its seed")
    if len(common) > MAX_SAMPLES:
        common = common[np.sort(np.random.default_rng(seed).choice(len(common), MAX_SAMPLES, replace=False))]
    rows = [table.obs_names.get_indexer(common) for table in tables]
    return [
        read_feature_table(path, ("X",), np.sort(own)).X[np.argsort(np.argsort(own))]
        for path, own in zip(paths, rows, strict=True)
    ]
