"""Running a foundation model over samples and keeping what it computes at a layer."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from biosae.artefacts import atomic_write, content_hash, remove_temporary, settings_hash, write_json
from biosae.errors import ArtefactError, SettingError
from biosae.locks import locked
from biosae.models.base import ModelAdapter
from biosae.models.parallel import each_batch
from biosae.models.tokens import TokenBatch, TokenSequences
from biosae.progress import Advance, progress_bar
from biosae.ranks import ALONE, Ranks

from .store import FORMAT, MANIFEST, ActivationStore

logger = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def extract_activations(
    adapter: ModelAdapter,
    sequences: TokenSequences,
    layer: int,
    cache: Path,
    dtype: str = "float16",
    tokens_per_batch: int = 16_384,
    tokens_per_shard: int = 262_144,
    ranks: Ranks = ALONE,
) -> ActivationStore:
    """The store of these activations under ``cache``, computed unless it is there already.

    The folder is named by a hash of everything that decides its content, so runs that differ only
    in their autoencoder share it. Finished shards of an interrupted extraction are kept; another process
    that wants the same ones waits.

    Parameters
    ----------
    dtype
        ``float16``, ``bfloat16`` or ``float32`` on disk.
    tokens_per_batch
        Padded tokens in one forward pass; bounds the model's memory.
    tokens_per_shard
        Tokens in one file; bounds the memory here.
    ranks
        Processes that share the work, shard by shard.

    Raises
    ------
    SettingError
        If ``dtype`` is unknown or an activation overflows it.
    ArtefactError
        If the disk is too small (said before the work starts) or cannot be written.
    """
    if dtype not in DTYPES:
        raise SettingError(f"buffer.dtype must be one of {', '.join(DTYPES)}, got {dtype}")
    layer = adapter.layer_index(layer)
    decides = {
        "format": FORMAT, "model": adapter.fingerprint, "layer": layer, "dtype": dtype,
        "tokens": sequences.hash, "tokens_per_shard": tokens_per_shard,
    }  # fmt: skip
    if adapter.reads_beside_tokens:
        decides["beside_tokens"] = adapter.reads_beside_tokens
    folder = Path(cache) / settings_hash(decides)
    if ranks.from_first((folder / MANIFEST).exists()):
        logger.info("activations of this layer are already in %s", folder)
        return ActivationStore(folder)
    _check_disk(folder, len(sequences.token) * adapter.d_model * DTYPES[dtype].itemsize)
    with locked(folder, waits=True) if ranks.is_first else nullcontext():
        if not ranks.from_first((folder / MANIFEST).exists()):  # unless another run made it while this one waited
            if ranks.is_first:
                remove_temporary(folder)
            ranks.wait()
            _extract(adapter, sequences, layer, folder, decides, tokens_per_batch, ranks)
    return ActivationStore(folder)


def _extract(
    adapter: ModelAdapter,
    sequences: TokenSequences,
    layer: int,
    folder: Path,
    decides: dict,
    tokens_per_batch: int,
    ranks: Ranks,
) -> None:
    """Writes the shards that are not there yet, then the manifest that makes them a store."""
    names = []
    with progress_bar(f"{adapter.name} layer {layer}", len(sequences.token), "tokens") as advance:
        for number, samples in enumerate(_sample_ranges(sequences, decides["tokens_per_shard"])):
            path = folder / f"shard-{number:05d}.safetensors"
            if path.exists() or number % ranks.size != ranks.rank:
                advance(int(sequences.lengths[samples].sum()))
            else:
                dtype = DTYPES[decides["dtype"]]
                _write_shard(adapter, sequences, samples, layer, dtype, tokens_per_batch, path, advance)
            names.append(path.name)
    ranks.wait()
    if ranks.is_first:
        write_json(folder / MANIFEST, _manifest(adapter, sequences, folder, names, decides))
    ranks.wait()


def _sample_ranges(sequences: TokenSequences, tokens_per_shard: int) -> list[np.ndarray]:
    """Consecutive samples with at most ``tokens_per_shard`` tokens, or one sample that alone has more."""
    ranges, first = [], 0
    while first < sequences.n_samples:
        limit = sequences.offsets[first] + tokens_per_shard
        last = max(first + 1, int(np.searchsorted(sequences.offsets, limit, side="right")) - 1)
        ranges.append(np.arange(first, last))
        first = last
    return ranges


def _write_shard(
    adapter: ModelAdapter,
    sequences: TokenSequences,
    samples: np.ndarray,
    layer: int,
    dtype: torch.dtype,
    tokens_per_batch: int,
    path: Path,
    advance: Advance,
) -> None:
    tokens = slice(sequences.offsets[samples[0]], sequences.offsets[samples[-1] + 1])
    values = torch.empty(tokens.stop - tokens.start, adapter.d_model, dtype=dtype)

    def stored(adapter: ModelAdapter, batch: TokenBatch) -> Tensor:
        (hidden,) = adapter.activations(batch, [layer])
        return _as_dtype(hidden, dtype).cpu()

    for batch, hidden in each_batch(adapter, sequences, samples, tokens_per_batch, stored):
        rows = np.concatenate([np.arange(*sequences.offsets[s : s + 2]) for s in batch.sample.tolist()]) - tokens.start
        values[torch.from_numpy(rows)] = hidden
        advance(len(rows))
    tensors = {
        "values": values,
        "token": torch.from_numpy(sequences.token[tokens].copy()),
        "sample": torch.from_numpy(np.repeat(samples, sequences.lengths[samples])),
        "value": torch.from_numpy(sequences.value[tokens].copy()),
        "special": torch.from_numpy(sequences.special[tokens].copy()),
    }
    with atomic_write(path) as temporary:
        save_file(tensors, temporary)


def _as_dtype(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    converted = hidden.to(dtype)
    if not torch.isfinite(converted).all():
        largest = hidden.abs().max()
        message = (
            f"activations up to {largest:.3g} do not fit {dtype}" if torch.isfinite(largest) else "activations are NaN"
        )
        raise SettingError(f"{message}; use buffer.dtype=bfloat16 or float32")
    return converted


def _manifest(adapter: ModelAdapter, sequences: TokenSequences, folder: Path, names: list[str], decides: dict) -> dict:
    shards = []
    for name, samples in zip(names, _sample_ranges(sequences, decides["tokens_per_shard"]), strict=True):
        path = folder / name
        n_tokens = int(sequences.lengths[samples].sum())
        shards.append({"name": name, "n_tokens": n_tokens, "bytes": path.stat().st_size, "hash": content_hash(path)})
    described = {"d_in": adapter.d_model, "n_samples": sequences.n_samples, "model_name": adapter.name}
    return decides | described | {"shards": shards}


def _check_disk(folder: Path, n_bytes: int) -> None:
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    logger.info("activations take %.2f GB in %s (%.0f GB free)", n_bytes / 1e9, folder, free / 1e9)
    if free < 1.05 * n_bytes:
        message = f"activations need {n_bytes / 1e9:.1f} GB in {folder}, only {free / 1e9:.1f} GB are free; "
        raise ArtefactError(message + "use buffer=stream, buffer.dtype=float16, fewer cells or another buffer.cache")
