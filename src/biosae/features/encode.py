"""From activations to features: every token encoded on its own, kept sparse, pooled per sample."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor

from biosae.activations.store import ActivationShard, ActivationStore
from biosae.artefacts import atomic_write, content_hash, write_json
from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import DataError
from biosae.progress import progress_bar
from biosae.saes.base import SAE
from biosae.saes.codes import Codes

from .feature_table import write_feature_table
from .origin import FEATURES, MANIFEST, TOKEN_CODES
from .pool import PooledCodes, pool
from .token_codes import FORMAT, VOCABULARY, TokenCodesShard, source_of

logger = logging.getLogger(__name__)


def encode_features(
    sae: SAE,
    store: ActivationStore,
    obs: pd.DataFrame,
    vocabulary: pd.DataFrame,
    out: Path,
    provenance: dict,
    obsm: dict[str, np.ndarray],
    batch_tokens: int = 8192,
    group: ReplicaGroup = SINGLE,
) -> None:
    """Writes ``token_codes/`` and ``features.h5ad`` into ``out``.

    Memory holds the codes of one shard and one batch of ``batch_tokens`` tokens, however many
    samples there are. Shards that an interrupted run finished from the same SAE and activations
    are kept.

    Parameters
    ----------
    obs
        Annotations of the samples, in the order of the store's sample rows, with ``biosae_part``.
    vocabulary
        Columns ``token``, ``identifier``, ``name``, one row per vocabulary id.
    provenance
        ``sae_hash``, ``model`` and ``layer``; kept in ``uns["biosae"]``.
    obsm
        Arrays with one row per sample, such as ``X_model``; only the first process needs them.
    group
        Processes that share the encoding, shard by shard; the first pools the codes.

    Raises
    ------
    DataError
        If ``obs`` or an array of ``obsm`` is not aligned to the samples of the store, or no sample has a token.
    ArtefactError
        If the folder cannot be written.
    """
    _check_aligned(store.n_samples, {"obs": obs, **{f"obsm[{name!r}]": array for name, array in obsm.items()}})
    if store.n_tokens == 0:
        raise DataError("no sample has a token the model knows, so there is nothing to encode; see the matched genes")
    folder = Path(out) / TOKEN_CODES
    shards = _write_token_codes(sae, store, folder, provenance, batch_tokens, group)
    if not group.is_first:
        return
    with atomic_write(folder / VOCABULARY) as temporary:
        vocabulary[["token", "identifier", "name"]].to_csv(temporary, index=False)
    write_json(folder / MANIFEST, _manifest(sae, store, provenance, shards))
    write_feature_table(
        Path(out) / FEATURES,
        _pooled(folder, shards, store.n_samples),
        sum(shard["n_tokens"] for shard in shards),
        obs,
        obsm,
        {**provenance, "activations_hash": store.hash, "version": version("biosae")},
    )


class Encoder(Protocol):
    """Encoder of activations, row by row: an SAE, or the simpler axes that it is compared with."""

    d_sae: int

    def encode(self, x: Tensor) -> Codes: ...


def encode_shard(encoder: Encoder, shard: ActivationShard, batch_tokens: int, device: torch.device) -> TokenCodesShard:
    """The codes of a shard's content tokens, sorted by feature."""
    content = ~shard.special
    counts, features, codes = [], [], []
    for batch in shard.values[content].split(batch_tokens):
        row, feature, code = (tensor.cpu().numpy() for tensor in encoder.encode(batch.float().to(device)).entries())
        counts.append(np.bincount(row, minlength=len(batch)))
        features.append(feature)
        codes.append(code)
    n_tokens = int(content.sum())
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]) if counts else np.zeros(1, dtype=np.int64)
    entries = (np.concatenate([[], *codes]).astype(np.float32), np.concatenate([[], *features]).astype(np.int64))
    by_feature = sparse.csr_matrix((*entries, offsets), shape=(n_tokens, encoder.d_sae)).tocsc()
    return TokenCodesShard(
        sample=shard.sample[content].numpy(),
        token=shard.token[content].numpy(),
        value=shard.value[content].numpy(),
        feature_offsets=by_feature.indptr.astype(np.int64),
        row=by_feature.indices.astype(np.int32),
        code=by_feature.data,
    )


def _write_token_codes(
    sae: SAE, store: ActivationStore, folder: Path, provenance: dict, batch_tokens: int, group: ReplicaGroup
) -> list[dict]:
    """Encode the shards that do not exist yet and return the lines of the manifest."""
    (folder / MANIFEST).unlink(missing_ok=True)
    written = {}
    with progress_bar("encoding tokens", store.n_tokens, "tokens") as advance:
        for number in range(group.rank, store.n_shards, group.size):
            path, shard = folder / f"shard-{number:05d}.safetensors", store.shard(number)
            source = {"format": str(FORMAT), "sae": provenance["sae_hash"], "activations": store.hash}
            if source_of(path) != source:
                encode_shard(sae, shard, batch_tokens, sae.W_dec.device).write(path, source)
            written[number] = _shard_entry(path)
            advance(len(shard))
    written = {number: entry for part in group.all_gather(written) for number, entry in part.items()}
    for path in folder.glob("shard-*.safetensors"):
        if path.name not in {entry["name"] for entry in written.values()}:
            path.unlink(missing_ok=True)
    return [written[number] for number in sorted(written)]


def _shard_entry(path: Path) -> dict:
    shard = TokenCodesShard.read(path)
    return {"name": path.name, "n_tokens": shard.n_tokens, "nnz": len(shard.code), "hash": content_hash(path)}


def _manifest(sae: SAE, store: ActivationStore, provenance: dict, shards: list[dict]) -> dict:
    return {
        "format": FORMAT,
        "d_sae": sae.d_sae,
        "n_tokens": sum(shard["n_tokens"] for shard in shards),
        "n_samples": store.n_samples,
        "nnz": sum(shard["nnz"] for shard in shards),
        "sae_hash": provenance["sae_hash"],
        "activations_hash": store.hash,
        "shards": shards,
    }


def _pooled(folder: Path, shards: list[dict], n_samples: int) -> Iterator[PooledCodes]:
    """Consecutive samples, shard by shard; a sample without tokens goes with the shard before it."""
    first = 0
    with progress_bar("pooling samples", n_samples, "samples") as advance:
        for number, entry in enumerate(shards):
            shard = TokenCodesShard.read(folder / entry["name"])
            last_shard = number == len(shards) - 1
            end = n_samples if last_shard else int(shard.sample.max(initial=first - 1)) + 1
            if shard.sample.min(initial=first) < first:
                raise DataError(f"{entry['name']} holds tokens of samples that an earlier shard holds already")
            yield pool(shard, first, end)
            advance(end - first)
            first = end


def _check_aligned(n_samples: int, tables: dict) -> None:
    for name, table in tables.items():
        if len(table) != n_samples:
            raise DataError(f"{name} must have one row for each of the {n_samples} samples, got {len(table)}")
