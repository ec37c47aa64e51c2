"""Token activations on disk: extracted once, read by every run that needs the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from biosae.artefacts import content_hash, damaged, read_json, settings_hash, unnamed_file
from biosae.distributed.processes import SINGLE, ReplicaGroup
from biosae.errors import ArtefactError, DataError, reason_of
from biosae.json_objects import COUNT, SIZE
from biosae.memory import return_freed

from .mapped import mapped_tensors
from .order import random_order
from .shuffle import RowBuffer, shuffled_batches
from .source import epoch_seed

FORMAT = 1
MANIFEST = "manifest.json"
EXPECTED = {
    "d_in": SIZE,
    "n_samples": COUNT,
    "shards": [{"name": str, "n_tokens": COUNT, "bytes": COUNT, "hash": str}],
}
BLOCK_ROWS = 64  # consecutive rows that are read together; about a quarter of a cell


@dataclass(frozen=True)
class ActivationShard:
    """Consecutive tokens of whole samples.

    Attributes
    ----------
    values
        ``(n, d_in)`` activations in the dtype of the store, memory-mapped.
    token, sample, value, special
        ``(n,)`` vocabulary id (int32), row of the sample (int64), input value (float32) and whether
        the token is a special one (bool).
    """

    values: Tensor
    token: Tensor
    sample: Tensor
    value: Tensor
    special: Tensor

    def __len__(self) -> int:
        return len(self.token)


class ActivationStore:
    """Activations of all samples of a data set at one layer, in shards on disk.

    Attributes
    ----------
    folder
        Holds ``manifest.json`` and the shards.
    d_in, n_tokens, n_samples
        Width, tokens (special ones included) and samples (those without tokens included).
    hash
        Changes when any activation changes.
    described
        The manifest without its shards: model, tokens, layer and dtype.

    Every shard is compared with its hash when it is first read.

    Raises
    ------
    ArtefactError
        If the manifest is missing, a shard is missing or truncated, or, when it is read, another than was written.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        manifest = read_json(self.folder / MANIFEST, "the train stage", EXPECTED, FORMAT)
        self.described = {name: value for name, value in manifest.items() if name != "shards"}
        self.d_in: int = manifest["d_in"]
        self.n_samples: int = manifest["n_samples"]
        self.n_tokens: int = sum(shard["n_tokens"] for shard in manifest["shards"])
        self.hash: str = settings_hash({"shards": [shard["hash"] for shard in manifest["shards"]]})
        self._shards = manifest["shards"]
        self._checked: set[int] = set()
        for shard in self._shards:
            self._check_size(shard)

    def _check_size(self, shard: dict) -> None:
        path = self.folder / shard["name"]
        size = path.stat().st_size if path.exists() else 0
        if size != shard["bytes"]:
            message = f"{path} has {size:,} bytes, expected {shard['bytes']:,}; delete {self.folder} and rerun"
            raise ArtefactError(message)

    @property
    def n_shards(self) -> int:
        return len(self._shards)

    def shards(self) -> Iterator[ActivationShard]:
        """Yield the shards in the order of the samples."""
        return (self.shard(index) for index in range(self.n_shards))

    def shard(self, index: int) -> ActivationShard:
        path = self.folder / self._shards[index]["name"]
        if index not in self._checked and content_hash(path) != self._shards[index]["hash"]:
            raise ArtefactError(f"{path} was changed or damaged; delete {self.folder} and rerun")
        self._checked.add(index)
        try:
            tensors = mapped_tensors(path)
            return ActivationShard(**{name: tensors[name] for name in ActivationShard.__annotations__})
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise damaged(path, reason_of(error), "the train stage") from error

    def content_of(self, samples: np.ndarray, buffer_tokens: int) -> StoredActivations:
        """Return the content tokens of samples as a source for training or evaluation."""
        return StoredActivations(self, samples, buffer_tokens)

    def sample_means(self, folder: Path) -> np.ndarray:
        """Return the ``(n_samples, d_in) float32`` mean activation of each sample's content tokens; NaN without any.

        The result is mapped from an unnamed file on the disk of ``folder``.
        """
        with unnamed_file(folder) as file:
            end = 0
            for shard in self.shards():  # of whole samples
                if len(shard) == 0:
                    continue
                first, last = int(shard.sample[0]), int(shard.sample[-1])
                file.write(np.full((first - end, self.d_in), np.nan, np.float32))
                file.write(_means(shard, last + 1 - first, first))
                end = last + 1
            file.write(np.full((self.n_samples - end, self.d_in), np.nan, np.float32))
            file.flush()
            return np.memmap(file, np.float32, mode="r", shape=(self.n_samples, self.d_in)).view(np.ndarray)


def _means(shard: ActivationShard, n: int, first: int) -> np.ndarray:
    """Return the ``(n, d_in) float32`` means of ``n`` samples from ``first`` on."""
    content = ~shard.special
    sample = shard.sample[content] - first
    total = torch.zeros(n, shard.values.shape[1], dtype=torch.float64)
    total.index_add_(0, sample, shard.values[content].double())
    return (total / torch.bincount(sample, minlength=n).unsqueeze(1)).float().numpy()


class StoredActivations:
    """Content tokens of some samples of a store; an `ActivationSource`.

    Blocks of neighbouring tokens are read in random order into a buffer of ``buffer_tokens`` rows
    and shuffled there, so that a batch mixes many samples and shards while reads stay long.

    The positions of the chosen tokens are not kept: one byte counts the chosen ones among `BLOCK_ROWS` consecutive rows
    of a shard, and a block looks its rows up in the memory-mapped shard when it is read.
    """

    def __init__(self, store: ActivationStore, samples: np.ndarray, buffer_tokens: int):
        self.d_in = store.d_in
        self._store = store
        self._blocks_per_buffer = max(1, buffer_tokens // BLOCK_ROWS)
        self._chosen = torch.zeros(store.n_samples, dtype=torch.bool)
        self._chosen[torch.from_numpy(np.asarray(samples))] = True
        self._n_chosen = [_sums(self._is_chosen(shard)) for shard in store.shards()]
        self._n_rows = np.array([counts.sum(dtype=np.int64) for counts in self._n_chosen])
        self.n_tokens = int(self._n_rows.sum())
        if self.n_tokens == 0:
            raise DataError("none of the chosen samples has a token; see how many genes the model matched")

    def batches(
        self, batch_size: int, seed: int, epoch: int = 0, start: int = 0, group: ReplicaGroup = SINGLE
    ) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = random_order(int(self._last_blocks[-1]), generator)
        buffers = (order[i : i + self._blocks_per_buffer] for i in range(0, len(order), self._blocks_per_buffer))
        return shuffled_batches(map(self._buffer, buffers), batch_size, generator, start, reads_ahead=True, group=group)

    @cached_property
    def _last_blocks(self) -> np.ndarray:
        """``(n_shards,)`` number of blocks up to and with a shard; a block is `BLOCK_ROWS` chosen rows of one shard."""
        return np.cumsum(-(-self._n_rows // BLOCK_ROWS))

    def _is_chosen(self, shard: ActivationShard, rows: slice = slice(None)) -> Tensor:
        return self._chosen[shard.sample[rows]] & ~shard.special[rows]

    def _buffer(self, blocks: np.ndarray) -> RowBuffer:
        blocks = np.sort(blocks)
        shard = np.searchsorted(self._last_blocks, blocks, side="right")
        first = BLOCK_ROWS * (blocks - np.append(0, self._last_blocks)[shard])  # among the shard's chosen rows
        last = np.minimum(first + BLOCK_ROWS, self._n_rows[shard])
        return RowBuffer(int((last - first).sum()), lambda wanted: self._read(shard, first, last, wanted))

    def _read(self, shards: np.ndarray, first: np.ndarray, last: np.ndarray, wanted: Tensor) -> Tensor:
        return_freed()  # what reading the buffer before took
        parts, start = [], 0
        for index in np.unique(shards):
            shard, own = self._store.shard(index), shards == index
            before = np.append(0, np.cumsum(self._n_chosen[index], dtype=np.int64))
            rows = [self._rows(shard, before, *bounds) for bounds in zip(first[own], last[own], strict=True)]
            rows = torch.cat(rows)
            parts.append(shard.values[rows[wanted[start : start + len(rows)]]])
            start += len(rows)
        return torch.cat(parts)

    def _rows(self, shard: ActivationShard, before: np.ndarray, first: int, last: int) -> Tensor:
        """Return the rows of the ``first`` to ``last - 1`` chosen ones of a shard; ``before`` counts them by span."""
        start = int(np.searchsorted(before, first, side="right")) - 1
        stop = int(np.searchsorted(before, last, side="left"))
        span = slice(start * BLOCK_ROWS, stop * BLOCK_ROWS)
        found = torch.nonzero(self._is_chosen(shard, span)).squeeze(1)
        return found[first - before[start] : last - before[start]] + span.start


def _sums(chosen: Tensor) -> np.ndarray:
    """Return the ``(ceil(n / BLOCK_ROWS),) uint8`` number of true values in each span of `BLOCK_ROWS`."""
    starts = np.arange(0, len(chosen), BLOCK_ROWS)
    return np.add.reduceat(chosen.numpy(), starts, dtype=np.uint8) if len(starts) else np.zeros(0, np.uint8)
