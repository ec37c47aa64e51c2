"""Embeddings of many samples under many settings: lower layers once, nothing computed twice, safe to stop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor

from biosae.artefacts import atomic_write
from biosae.models.base import Edit, ModelAdapter
from biosae.models.parallel import each_batch
from biosae.models.tokens import TokenBatch, TokenSequences
from biosae.progress import progress_bar
from biosae.saes.base import SAE

from .edits import EditableTokens, TokenEdit

CHUNK_SAMPLES = 512  # what a stopped run loses at most


class SteeredEmbeddings:
    """Embeddings of some samples under named edits, kept in one file for every `CHUNK_SAMPLES` samples.

    A file holds one tensor an edit, so that a later sweep adds to it what is new.

    Parameters
    ----------
    folder
        Of these samples, tokens, model and SAE alone: edits are told apart by their names.
    samples
        Rows of the samples, all with tokens.
    """

    def __init__(self, folder: Path, samples: np.ndarray):
        self._folder, self.samples = Path(folder), samples
        self._chunks = [samples[start : start + CHUNK_SAMPLES] for start in range(0, len(samples), CHUNK_SAMPLES)]

    def compute(
        self,
        adapter: ModelAdapter,
        sae: SAE,
        sequences: TokenSequences,
        layer: int,
        edits: Mapping[str, TokenEdit],
        tokens_per_batch: int,
    ) -> None:
        """Embeds what is not there yet."""
        missing = [{name: edit for name, edit in edits.items() if name not in self._names(n)} for n in self._numbers()]
        total = sum(len(chunk) * len(lacking) for chunk, lacking in zip(self._chunks, missing, strict=True))
        with progress_bar("steering", total, "embeddings") as advance:
            for number, lacking in enumerate(missing):
                if lacking:
                    chunk = self._chunks[number]
                    found = _embed(adapter, sae, sequences, chunk, layer, lacking, tokens_per_batch, advance)
                    self._add(number, found)

    def of(self, name: str) -> np.ndarray:
        """``(n_samples, d) float32`` embeddings of the samples under an edit."""
        parts = []
        for number in self._numbers():
            with safe_open(self._path(number), framework="np") as file:
                parts.append(file.get_tensor(name))
        return np.concatenate(parts)

    def _numbers(self) -> range:
        return range(len(self._chunks))

    def _path(self, number: int) -> Path:
        return self._folder / f"chunk-{number:05d}.safetensors"

    def _names(self, number: int) -> set[str]:
        try:
            with safe_open(self._path(number), framework="np") as file:
                return set(file.keys())
        except (FileNotFoundError, SafetensorError):
            return set()

    def _add(self, number: int, found: dict[str, np.ndarray]) -> None:
        known = load_file(self._path(number)) if self._names(number) else {}
        with atomic_write(self._path(number)) as temporary:
            save_file(known | found, temporary)


def _embed(
    adapter: ModelAdapter,
    sae: SAE,
    sequences: TokenSequences,
    samples: np.ndarray,
    layer: int,
    edits: Mapping[str, TokenEdit],
    tokens_per_batch: int,
    advance,
) -> dict[str, np.ndarray]:
    """``(n, d) float32`` embeddings of the samples under every edit."""
    place = {sample: row for row, sample in enumerate(samples.tolist())}
    out: dict[str, np.ndarray] = {}

    def edited(adapter: ModelAdapter, batch: TokenBatch) -> list[Tensor]:
        return [embedding.float().cpu() for embedding in embed_batch(adapter, sae, batch, layer, edits.values())]

    for batch, embeddings in each_batch(adapter, sequences, samples, tokens_per_batch, edited):
        rows = [place[sample] for sample in batch.sample.tolist()]
        for name, embedding in zip(edits, embeddings, strict=True):
            if name not in out:
                out[name] = np.empty((len(samples), embedding.shape[1]), dtype=np.float32)
            out[name][rows] = embedding.numpy()
        advance(len(rows) * len(edits))
    return out


def embed_batch(adapter: ModelAdapter, sae: SAE, batch: TokenBatch, layer: int, edits) -> list[Tensor]:
    """`ModelAdapter.embed_each` for edits that also read codes; the batch is encoded once."""
    return adapter.embed_each(batch, layer, sharing_tokens(sae, batch, edits))


def sharing_tokens(sae: SAE, batch: TokenBatch, edits) -> list[Edit]:
    """Every edit sees the same activations, so their codes are shared."""
    sample = batch.sample.repeat_interleave(batch.content.sum(1))
    shared: list[EditableTokens] = []

    def bound(edit: TokenEdit) -> Edit:
        def of_activations(x: Tensor) -> Tensor:
            if not shared:
                shared.append(EditableTokens(sae, x, sample))
            return edit(shared[0])

        return of_activations

    return [bound(edit) for edit in edits]
