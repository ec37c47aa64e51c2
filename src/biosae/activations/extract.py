"""Extraction: run a foundation model over samples and store its activations at a layer."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from biosae.artefacts import atomic_write, content_hash, remove_temporary, settings_hash, write_json
from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import ArtefactError, SettingError
from biosae.locks import locked
from biosae.memory import return_freed
from biosae.models.base import ModelAdapter
from biosae.models.parallel import each_batch
from biosae.models.tokens import TokenBatch, TokenSequences
from biosae.progress import Advance, progress_bar

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
    group: ReplicaGroup = SINGLE,
    also_layers: Sequence[int] = (),
) -> ActivationStore:
    """Return the store of these activations under ``cache``, computed unless it exists already.

    The folder is named by a hash of everything that determines its content, so that runs which differ only in their
    SAE share it. Finished shards of an interrupted extraction are kept; another run that needs the same ones waits.

    Parameters
    ----------
    dtype
        ``float16``, ``bfloat16`` or ``float32`` on disk.
    tokens_per_batch
        Padded tokens in one forward pass; bounds the model's memory.
    tokens_per_shard
        Tokens in one file; bounds the memory here.
    group
        Processes that share the work, shard by shard.
    also_layers
        Other layers whose activations the same forward passes store, each in a store of its own and with one shard
        in memory.

    Raises
    ------
    SettingError
        If ``dtype`` is unknown or an activation overflows it.
    ArtefactError
        If the disk is too small (checked before the work starts) or cannot be written.
    """
    if dtype not in DTYPES:
        raise SettingError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype}", argument="buffer.dtype")
    layer = adapter.layer_index(layer)
    decides = _decides(adapter, sequences, dtype, tokens_per_shard)
    layers = sorted({layer, *map(adapter.layer_index, also_layers)})
    stores = {Path(cache) / settings_hash(decides | {"layer": wanted}): wanted for wanted in layers}
    folder = next(folder for folder, wanted in stores.items() if wanted == layer)
    lacking = _lacking(stores, group)
    if not lacking:
        logger.info("activations of this layer are already in %s", folder)
        return _opened(folder, decides | {"layer": layer})
    _check_disk(folder, len(lacking) * len(sequences.token) * adapter.d_model * DTYPES[dtype].itemsize)
    with _locked(lacking, group) as lacking:
        if lacking:
            _extract(adapter, sequences, lacking, decides, tokens_per_batch, group)
    return ActivationStore(folder)


def _opened(folder: Path, expected: dict) -> ActivationStore:
    """Return a store that was there before, if it holds what its folder is named by."""
    store = ActivationStore(folder)
    other = [name for name, value in expected.items() if store.described.get(name) != value]
    if other:
        message = f"the activations in {folder} are of another {other[0]} than the folder is named by"
        raise ArtefactError(f"{message}; delete it, and make them again with the train stage")
    return store


def _decides(adapter: ModelAdapter, sequences: TokenSequences, dtype: str, tokens_per_shard: int) -> dict:
    """Return what determines the content of a store, apart from the layer."""
    decides = {
        "format": FORMAT, "model": adapter.fingerprint, "dtype": dtype,
        "tokens": sequences.hash, "tokens_per_shard": tokens_per_shard,
    }  # fmt: skip
    return decides | ({"beside_tokens": adapter.reads_beside_tokens} if adapter.reads_beside_tokens else {})


def _lacking(stores: dict[Path, int], group: ReplicaGroup) -> dict[Path, int]:
    """Return the stores that are not finished, as the first process sees them."""
    there = [group.broadcast((folder / MANIFEST).exists()) for folder in stores]
    return {folder: layer for (folder, layer), done in zip(stores.items(), there, strict=True) if not done}


@contextmanager
def _locked(stores: dict[Path, int], group: ReplicaGroup) -> Iterator[dict[Path, int]]:
    """Lock the folders; yield those that another run did not finish while this one waited."""
    with ExitStack() as locks:
        for path in sorted(stores) if group.is_first else ():  # in one order, so that no two runs wait for each other
            locks.enter_context(locked(path, waits=True))
        lacking = _lacking(stores, group)
        for path in lacking if group.is_first else ():
            remove_temporary(path)
        group.barrier()
        yield lacking


def _extract(
    adapter: ModelAdapter,
    sequences: TokenSequences,
    stores: dict[Path, int],
    decides: dict,
    tokens_per_batch: int,
    group: ReplicaGroup,
) -> None:
    """Write the missing shards of every layer, then the manifests that make them stores."""
    names = []
    layers = ", ".join(map(str, sorted(stores.values())))
    with progress_bar(f"{adapter.name} layer {layers}", len(sequences.token), "tokens") as advance:
        for number, samples in enumerate(_sample_ranges(sequences, decides["tokens_per_shard"])):
            names.append(f"shard-{number:05d}.safetensors")
            paths = {folder / names[-1]: layer for folder, layer in stores.items()}
            paths = {path: layer for path, layer in paths.items() if not path.exists()}
            if paths and number % group.size == group.rank:
                dtype = DTYPES[decides["dtype"]]
                _write_shards(adapter, sequences, samples, paths, dtype, tokens_per_batch, advance)
            else:
                advance(_n_tokens(sequences, samples))
    group.barrier()
    for folder, layer in stores.items() if group.is_first else ():
        write_json(folder / MANIFEST, _manifest(adapter, sequences, folder, names, decides | {"layer": layer}))
    group.barrier()


def _sample_ranges(sequences: TokenSequences, tokens_per_shard: int) -> list[range]:
    """Return ranges of samples with at most ``tokens_per_shard`` tokens, or one sample with more."""
    ranges, first = [], 0
    while first < sequences.n_samples:
        limit = sequences.offsets[first] + tokens_per_shard
        last = max(first + 1, int(np.searchsorted(sequences.offsets, limit, side="right")) - 1)
        ranges.append(range(first, last))
        first = last
    return ranges


def _n_tokens(sequences: TokenSequences, samples: range) -> int:
    return int(sequences.offsets[samples.stop] - sequences.offsets[samples.start])


def _write_shards(
    adapter: ModelAdapter,
    sequences: TokenSequences,
    samples: range,
    layers: dict[Path, int],
    dtype: torch.dtype,
    tokens_per_batch: int,
    advance: Advance,
) -> None:
    """Write one file per layer, from one pass over the samples."""
    tokens = slice(*sequences.offsets[[samples.start, samples.stop]].tolist())
    samples = np.array(samples)
    values = {path: torch.empty(tokens.stop - tokens.start, adapter.d_model, dtype=dtype) for path in layers}

    def stored(adapter: ModelAdapter, batch: TokenBatch) -> list[Tensor]:
        return [_as_dtype(hidden, dtype).cpu() for hidden in adapter.activations(batch, list(layers.values()))]

    for batch, found in each_batch(adapter, sequences, samples, tokens_per_batch, stored):
        rows = np.concatenate([np.arange(*sequences.offsets[s : s + 2]) for s in batch.sample.tolist()]) - tokens.start
        for path, hidden in zip(layers, found, strict=True):
            values[path][torch.from_numpy(rows)] = hidden
        advance(len(rows))
    shared = {
        "token": torch.from_numpy(sequences.token[tokens].copy()),
        "sample": torch.from_numpy(np.repeat(samples, sequences.lengths_of(samples))),
        "value": torch.from_numpy(sequences.value[tokens].copy()),
        "special": torch.from_numpy(sequences.special[tokens].copy()),
    }
    for path in layers:
        with atomic_write(path) as temporary:
            save_file({"values": values[path], **shared}, temporary)
    return_freed()


def _as_dtype(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    converted = hidden.to(dtype)
    if not torch.isfinite(converted).all():
        largest = hidden.abs().max()
        message = (
            f"activations up to {largest:.3g} do not fit {dtype}" if torch.isfinite(largest) else "activations are NaN"
        )
        raise SettingError(f"{message}; use dtype=bfloat16 or float32", argument="buffer.dtype")
    return converted


def _manifest(adapter: ModelAdapter, sequences: TokenSequences, folder: Path, names: list[str], decides: dict) -> dict:
    shards = []
    for name, samples in zip(names, _sample_ranges(sequences, decides["tokens_per_shard"]), strict=True):
        path = folder / name
        described = {"bytes": path.stat().st_size, "hash": content_hash(path)}
        shards.append({"name": name, "n_tokens": _n_tokens(sequences, samples), **described})
    described = {"d_in": adapter.d_model, "n_samples": sequences.n_samples, "model_name": adapter.name}
    return decides | described | {"shards": shards}


def _check_disk(folder: Path, n_bytes: int) -> None:
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    logger.info("activations take %.2f GB in %s (%.0f GB free)", n_bytes / 1e9, folder, free / 1e9)
    if free < 1.05 * n_bytes:
        message = f"activations need {n_bytes / 1e9:.2g} GB in {folder}, only {free / 1e9:.2g} GB are free"
        advice = "stream them, or use dtype=float16, fewer samples or another cache"
        raise ArtefactError(f"{message}; {advice}", argument="buffer.dtype")
