"""Token activations on disk: extracted once, read by every run that asks for the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from biosae.artefacts import content_hash, read_json, settings_hash
from biosae.errors import ArtefactError, DataError

from .shuffle import RowGroup, shuffled_batches
from .source import epoch_seed

FORMAT = 1
MANIFEST = "manifest.json"
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

    Every shard is compared with its hash when it is first read.

    Raises
    ------
    ArtefactError
        If the manifest is missing, a shard is missing or truncated, or, when it is read, another than was written.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        manifest = read_json(self.folder / MANIFEST, made_by="biosae train")
        if manifest.get("format") != FORMAT:
            raise ArtefactError(f"{folder} has format {manifest.get('format')}, expected {FORMAT}; delete it and rerun")
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
        """The shards in the order of the samples."""
        return (self.shard(index) for index in range(self.n_shards))

    def shard(self, index: int) -> ActivationShard:
        path = self.folder / self._shards[index]["name"]
        if index not in self._checked and content_hash(path) != self._shards[index]["hash"]:
            raise ArtefactError(f"{path} was changed or damaged; delete {self.folder} and rerun")
        self._checked.add(index)
        try:
            with safe_open(path, framework="pt") as file:
                return ActivationShard(**{name: file.get_tensor(name) for name in ActivationShard.__annotations__})
        except SafetensorError as error:
            raise ArtefactError(f"{path} is damaged ({error}); delete {self.folder} and rerun") from error

    def content_of(self, samples: np.ndarray, buffer_tokens: int) -> StoredActivations:
        """The content tokens of the given samples, as a source for training or evaluation."""
        return StoredActivations(self, samples, buffer_tokens)

    def sample_means(self) -> np.ndarray:
        """``(n_samples, d_in) float32`` mean activation of each sample's content tokens; NaN without any."""
        total = torch.zeros(self.n_samples, self.d_in, dtype=torch.float64)
        count = torch.zeros(self.n_samples, dtype=torch.float64)
        for shard in self.shards():
            content = ~shard.special
            total.index_add_(0, shard.sample[content], shard.values[content].double())
            count += torch.bincount(shard.sample[content], minlength=self.n_samples)
        return (total / count.unsqueeze(1)).float().numpy()


class StoredActivations:
    """Content tokens of some samples of a store; an `ActivationSource`.

    Blocks of neighbouring tokens are read in random order into a buffer of ``buffer_tokens`` rows
    and shuffled there, so that a batch mixes many samples and shards while reads stay long.
    """

    def __init__(self, store: ActivationStore, samples: np.ndarray, buffer_tokens: int):
        self.d_in = store.d_in
        self._store = store
        self._blocks_per_group = max(1, buffer_tokens // BLOCK_ROWS)
        chosen = torch.zeros(store.n_samples, dtype=torch.bool)
        chosen[torch.from_numpy(np.asarray(samples))] = True
        self._rows = [torch.nonzero(chosen[s.sample] & ~s.special).squeeze(1) for s in store.shards()]
        self.n_tokens = sum(map(len, self._rows))
        if self.n_tokens == 0:
            raise DataError("none of the chosen samples has a token; see how many genes the model matched")

    def batches(self, batch_size: int, seed: int, epoch: int = 0, start: int = 0) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = torch.randperm(len(self._blocks), generator=generator).numpy()
        groups = (order[i : i + self._blocks_per_group] for i in range(0, len(order), self._blocks_per_group))
        return shuffled_batches(map(self._group, groups), batch_size, generator, start)

    @cached_property
    def _blocks(self) -> np.ndarray:
        """``(n_blocks, 3)`` shard, first and last row (as positions among the shard's chosen rows)."""
        firsts = [np.arange(0, len(rows), BLOCK_ROWS) for rows in self._rows]
        lasts = [np.minimum(first + BLOCK_ROWS, len(rows)) for first, rows in zip(firsts, self._rows, strict=True)]
        shard = np.repeat(np.arange(len(firsts)), [len(first) for first in firsts])
        return np.stack([shard, np.concatenate(firsts), np.concatenate(lasts)], axis=1)

    def _group(self, blocks: np.ndarray) -> RowGroup:
        bounds = self._blocks[np.sort(blocks)]
        return RowGroup(int((bounds[:, 2] - bounds[:, 1]).sum()), lambda: self._read(bounds))

    def _read(self, bounds: np.ndarray) -> Tensor:
        parts = []
        for index in np.unique(bounds[:, 0]):
            chosen = self._rows[index]
            rows = torch.cat([chosen[first:last] for shard, first, last in bounds if shard == index])
            parts.append(self._store.shard(index).values[rows])
        return torch.cat(parts)
