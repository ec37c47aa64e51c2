"""Which features come back when the SAE is trained again with another seed or other samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from biosae.errors import DataError

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
    """One row a feature: the columns of ``stability`` in docs/formats.md.

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
            raise DataError(f"{message}; run `biosae features` of all runs on the same data")
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
