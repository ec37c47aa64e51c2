"""Tokenised samples, the input of a foundation model: ragged as stored, padded as batched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from biosae.artefacts import settings_hash, unnamed_file
from biosae.memory import return_freed

TOKENS_IN_MEMORY = 1 << 20  # 9 MB


@dataclass(frozen=True)
class TokenSequences:
    """The token sequences of many samples, stored end to end without padding.

    Attributes
    ----------
    token
        ``(n_tokens,) int32`` vocabulary ids, samples one after the other.
    value
        ``(n_tokens,) float32`` input value of each token in the unit of its model
        (Geneformer: counts per 10,000; scGPT: the bin); of special tokens the model's own, else 0.
    special
        ``(n_tokens,) bool``, true for tokens that stand for no gene or residue (``<cls>``, ``<eos>``).
    offsets
        ``(n_samples + 1,) int64``; sample ``i`` owns tokens ``offsets[i]:offsets[i + 1]``. A sample
        without tokens is kept, with an empty range, so that rows never shift.
    batch_label
        ``(n_samples,) int64`` experimental batch of each sample, for models that read it; else None.
    """

    token: np.ndarray
    value: np.ndarray
    special: np.ndarray
    offsets: np.ndarray
    batch_label: np.ndarray | None = None

    @property
    def n_samples(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """``(n_samples,) int64`` tokens of each sample."""
        return np.diff(self.offsets)

    def lengths_of(self, samples: np.ndarray) -> np.ndarray:
        """``(len(samples),) int64`` tokens of some samples."""
        return self.offsets[samples + 1] - self.offsets[samples]

    def length_blocks(self) -> Iterator[np.ndarray]:
        """Yield `lengths`, some thousand at a time."""
        for first in range(0, self.n_samples, 1 << 16):
            yield np.diff(self.offsets[first : first + (1 << 16) + 1])

    @cached_property
    def hash(self) -> str:
        """Hash of all tokens, values and borders between samples."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        present = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
        return settings_hash({name: hashlib.sha256(array).hexdigest() for name, array in present.items()})

    def sample_of_token(self) -> np.ndarray:
        """``(n_tokens,) int64`` the sample that owns each token."""
        return np.repeat(np.arange(self.n_samples), self.lengths)


@dataclass(frozen=True)
class TokenBatch:
    """A padded batch of samples.

    Attributes
    ----------
    token, value
        ``(n, L) int64`` and ``(n, L) float32``; padding holds the pad id and 0.
    mask
        ``(n, L) bool``, true where a token is real. Padding ends here: everything downstream
        sees ``hidden[mask]`` in this order (samples one after the other).
    special
        ``(n, L) bool``, true for ``<cls>``, ``<eos>`` and their kind.
    sample
        ``(n,) int64`` row of each sample in the data set.
    batch_label
        ``(n,) int64`` experimental batch of each sample, for models that read it; else None.
    """

    token: Tensor
    value: Tensor
    mask: Tensor
    special: Tensor
    sample: Tensor
    batch_label: Tensor | None = None

    @property
    def content(self) -> Tensor:
        """``(n, L) bool`` the tokens that stand for a gene or residue: real and not special."""
        return self.mask & ~self.special

    def to(self, device: torch.device) -> TokenBatch:
        """Return the batch on a device; to a GPU it is copied from pinned memory, asynchronously."""

        def moved(tensor: Tensor) -> Tensor:
            return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)

        return TokenBatch(*(tensor if tensor is None else moved(tensor) for tensor in vars(self).values()))


@dataclass(frozen=True)
class SpecialToken:
    """A token that every sample with content gets; ``value`` is one number or one per sample."""

    id: int
    value: float | np.ndarray = 0.0


def with_special(
    n_content: np.ndarray,
    token: np.ndarray,
    value: np.ndarray,
    first: Sequence[SpecialToken] = (),
    last: Sequence[SpecialToken] = (),
) -> TokenSequences:
    """Return sequences of content tokens stored end to end, with special tokens around each non-empty one.

    Parameters
    ----------
    n_content
        ``(n_samples,) int`` content tokens of each sample.
    token, value
        ``(n_content.sum(),)`` ids and input values of the content tokens.
    """
    lengths = np.where(n_content > 0, n_content + len(first) + len(last), 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    occupied = np.flatnonzero(n_content)
    result = TokenSequences(
        token=np.zeros(offsets[-1], dtype=np.int32),
        value=np.zeros(offsets[-1], dtype=np.float32),
        special=np.zeros(offsets[-1], dtype=bool),
        offsets=offsets,
    )
    places = [(special, offsets[occupied] + n) for n, special in enumerate(first)]
    places += [(special, offsets[occupied + 1] - len(last) + n) for n, special in enumerate(last)]
    for special, place in places:
        result.token[place] = special.id
        result.value[place] = np.broadcast_to(special.value, n_content.shape)[occupied]
        result.special[place] = True
    result.token[~result.special] = token
    result.value[~result.special] = value
    return result


def joined(parts: Sequence[TokenSequences]) -> TokenSequences:
    """Concatenate the samples of all parts."""
    lengths = np.concatenate([part.lengths for part in parts])
    return TokenSequences(
        token=np.concatenate([part.token for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        special=np.concatenate([part.special for part in parts]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        batch_label=_joined_labels([part.batch_label for part in parts]),
    )


def joined_on_disk(
    parts: Iterable[TokenSequences], folder: Path, memory_tokens: int = TOKENS_IN_MEMORY
) -> TokenSequences:
    """Do as `joined`, with all but the first ``memory_tokens`` in unnamed files on the disk of ``folder``.

    The arrays are then memory-mapped, and the files disappear with the process.
    """
    kept: list[TokenSequences] = []
    parts = iter(parts)
    while sum(len(part.token) for part in kept) <= memory_tokens:
        part = next(parts, None)
        if part is None:
            return joined(kept)
        kept.append(part)
    kinds = {"token": np.int32, "value": np.float32, "special": np.bool_, "offsets": np.int64}
    if kept[0].batch_label is not None:
        kinds["batch_label"] = np.int64
    with ExitStack() as stack:
        files = {name: stack.enter_context(unnamed_file(folder)) for name in kinds}
        files["offsets"].write(np.zeros(1, np.int64))
        n_tokens = 0
        for part in chain(kept, parts):
            for name, file in files.items():
                array = part.offsets[1:] + n_tokens if name == "offsets" else getattr(part, name)
                file.write(np.ascontiguousarray(array, dtype=kinds[name]))
            n_tokens += len(part.token)
            return_freed()
        for file in files.values():
            file.flush()
        return TokenSequences(**{name: np.memmap(file, kinds[name], mode="r") for name, file in files.items()})


def _joined_labels(labels: Sequence[np.ndarray | None]) -> np.ndarray | None:
    return None if labels[0] is None else np.concatenate(labels)


def pad_batch(sequences: TokenSequences, samples: np.ndarray, pad_token: int) -> TokenBatch:
    """Pad the given samples on the right to one batch, in the given order."""
    first, last = sequences.offsets[samples], sequences.offsets[np.asarray(samples) + 1]
    lengths = last - first
    width = int(lengths.max())
    mask = np.arange(width)[None, :] < lengths[:, None]  # (n, L)
    source = np.concatenate([np.arange(*owned) for owned in zip(first, last, strict=True)])

    def padded(values: np.ndarray, fill: float, dtype: type) -> Tensor:
        out = np.full(mask.shape, fill, dtype=dtype)
        out[mask] = values[source]
        return torch.from_numpy(out)

    return TokenBatch(
        token=padded(sequences.token, pad_token, np.int64),
        value=padded(sequences.value, 0, np.float32),
        mask=torch.from_numpy(mask),
        special=padded(sequences.special, False, np.bool_),
        sample=torch.from_numpy(np.asarray(samples, dtype=np.int64)),
        batch_label=None if sequences.batch_label is None else torch.from_numpy(sequences.batch_label[samples]),
    )


def length_buckets(lengths: np.ndarray, samples: np.ndarray, tokens_per_batch: int) -> Iterator[np.ndarray]:
    """Yield groups of samples of similar length whose padded size stays within ``tokens_per_batch``.

    ``lengths`` are those of ``samples``. Samples without tokens are in no group. The longest come first, so that a
    batch that does not fit in memory fails at once and not at the end. The samples of some of the groups alone, one
    group after the other, are grouped the same way.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        size = max(1, tokens_per_batch // int(lengths[order[start]]))
        yield samples[order[start : start + size]]
        start += size
