"""Codes summed over tokens by feature and gene: all that gene and expression scores need, in one pass."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy import sparse

from biosae.errors import ArtefactError
from biosae.features.token_codes import TokenCodes, TokenCodesShard
from biosae.progress import progress_bar

CELLS_PER_BLOCK = 1 << 22  # features x vocabulary that is dense for a moment


@dataclass(frozen=True)
class TokenSums:
    """Sums over tokens, by feature and by vocabulary entry ("gene").

    Attributes
    ----------
    n_active, total, largest, n_samples
        ``(d_sae, n_vocabulary)`` CSR: tokens on which the feature is active, their summed code, their
        largest code, and the number of different samples they belong to.
    squares, value, value_square, value_code
        ``(d_sae,) float64`` sums over active tokens of code squared, input value, its square, input value
        times code.
    n_tokens
        ``(n_vocabulary,) int64`` tokens of each gene.
    value_total, value_squares
        ``(n_vocabulary,) float64`` sums over all tokens of each gene of the input value and its square.
    """

    n_active: sparse.csr_matrix
    total: sparse.csr_matrix
    largest: sparse.csr_matrix
    n_samples: sparse.csr_matrix
    squares: np.ndarray
    value: np.ndarray
    value_square: np.ndarray
    value_code: np.ndarray
    n_tokens: np.ndarray
    value_total: np.ndarray
    value_squares: np.ndarray

    def __add__(self, other: TokenSums) -> TokenSums:
        summed = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return TokenSums(**summed | {"largest": self.largest.maximum(other.largest)})


def sum_over_tokens(codes: TokenCodes, samples: np.ndarray) -> TokenSums:
    """Sums over all tokens of some samples.

    Parameters
    ----------
    samples
        Rows of the samples.

    Raises
    ------
    ArtefactError
        If none of them has a token.
    """
    n_vocabulary = int(codes.vocabulary["token"].max()) + 1
    is_chosen = np.zeros(codes.n_samples, dtype=bool)
    is_chosen[samples] = True
    sums: TokenSums | None = None
    with progress_bar("Summing over genes", codes.n_tokens, "tokens") as advance:
        for shard in codes.shards():
            part = _sum_shard(_of_samples(shard, is_chosen), n_vocabulary)
            sums = part if sums is None else sums + part
            advance(len(shard.token))
    if sums is None or not sums.n_tokens.any():
        raise ArtefactError(f"{codes.folder} holds no token of these samples; make it again with the features stage")
    return sums


def _of_samples(shard: TokenCodesShard, is_chosen: np.ndarray) -> TokenCodesShard:
    """The tokens of the chosen samples and their codes."""
    kept = is_chosen[shard.sample]
    entries = kept[shard.row]
    return TokenCodesShard(
        sample=shard.sample[kept],
        token=shard.token[kept],
        value=shard.value[kept],
        feature_offsets=np.concatenate([[0], np.cumsum(entries)])[shard.feature_offsets],
        row=(np.cumsum(kept) - 1)[shard.row[entries]],
        code=shard.code[entries],
    )


def _sum_shard(shard: TokenCodesShard, n_vocabulary: int) -> TokenSums:
    value = shard.value.astype(np.float64)
    d_sae = len(shard.feature_offsets) - 1
    per_block = max(1, CELLS_PER_BLOCK // n_vocabulary)
    blocks = [
        _sum_block(shard, value, slice(f, min(f + per_block, d_sae)), n_vocabulary) for f in range(0, d_sae, per_block)
    ]
    stacked = {name: sparse.vstack([block[name] for block in blocks], format="csr") for name in _MATRICES[:-1]}
    flat = {name: np.concatenate([block[name] for block in blocks]) for name in _PER_FEATURE}
    return TokenSums(
        **stacked,
        **flat,
        n_samples=_samples_per_gene(shard, stacked["n_active"]),
        n_tokens=np.bincount(shard.token, minlength=n_vocabulary),
        value_total=np.bincount(shard.token, value, minlength=n_vocabulary),
        value_squares=np.bincount(shard.token, value**2, minlength=n_vocabulary),
    )


_MATRICES = ("n_active", "total", "largest", "n_samples")
_PER_FEATURE = ("squares", "value", "value_square", "value_code")


def _sum_block(shard: TokenCodesShard, value: np.ndarray, features: slice, n_vocabulary: int) -> dict:
    """Sums of a run of features, whose entries lie side by side."""
    offsets = shard.feature_offsets[features.start : features.stop + 1]
    n_features = len(offsets) - 1
    row, code = shard.row[offsets[0] : offsets[-1]], shard.code[offsets[0] : offsets[-1]].astype(np.float64)
    feature = np.repeat(np.arange(n_features), np.diff(offsets))
    place = feature * n_vocabulary + shard.token[row]
    size = n_features * n_vocabulary
    n_active = np.bincount(place, minlength=size)
    largest = np.zeros(size, dtype=np.float32)
    np.maximum.at(largest, place, code.astype(np.float32))
    where = np.flatnonzero(n_active)
    offsets_of_cells = np.searchsorted(where, np.arange(n_features + 1) * n_vocabulary)

    def matrix(dense: np.ndarray) -> sparse.csr_matrix:
        parts = dense[where], where % n_vocabulary, offsets_of_cells
        return sparse.csr_matrix(parts, shape=(n_features, n_vocabulary))

    def per_feature(weights: np.ndarray) -> np.ndarray:
        return np.bincount(feature, weights, minlength=n_features)

    return {
        "n_active": matrix(n_active),
        "total": matrix(np.bincount(place, code, minlength=size)),
        "largest": matrix(largest),
        "squares": per_feature(code**2),
        "value": per_feature(value[row]),
        "value_square": per_feature(value[row] ** 2),
        "value_code": per_feature(value[row] * code),
    }


def _samples_per_gene(shard: TokenCodesShard, n_active: sparse.csr_matrix) -> sparse.csr_matrix:
    """Different samples behind each feature and gene; the number of tokens where no sample repeats a gene."""
    n_vocabulary = n_active.shape[1]
    pair = shard.sample * n_vocabulary + shard.token
    pairs, number = np.unique(pair, return_inverse=True)
    if len(pairs) == len(pair):
        return n_active
    shape = (len(shard.feature_offsets) - 1, len(pairs))
    active = sparse.csr_matrix((np.ones(len(shard.row)), number[shard.row], shard.feature_offsets), shape=shape)
    active.sum_duplicates()
    token = (pairs % n_vocabulary)[active.indices]
    feature = np.repeat(np.arange(shape[0]), np.diff(active.indptr))
    counted = sparse.coo_matrix((np.ones(len(token), dtype=np.int64), (feature, token)), shape=n_active.shape)
    return counted.tocsr()
