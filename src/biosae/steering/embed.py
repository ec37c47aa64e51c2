"""Embeddings of many samples under many edits: lower layers once, nothing computed twice, safe to stop."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor

from biosae.artefacts import atomic_write, settings_hash
from biosae.errors import DataError
from biosae.models.base import Edit, ModelAdapter
from biosae.models.parallel import each_batch
from biosae.models.tokens import TokenBatch
from biosae.progress import Advance, progress_bar
from biosae.saes.base import SAE

from .context import SteeringContext
from .edit_settings import Setting
from .edits import EditableTokens, TokenEdit, unedited
from .plan import SteeringPlan

logger = logging.getLogger(__name__)

ORIGINAL = "original"
"""Name of the embeddings of the unedited model."""

CHUNK_SAMPLES = 512  # what a stopped run loses at most


class SteeredEmbeddings:
    """Embeddings of some samples under named edits, kept in one file for every `CHUNK_SAMPLES` samples.

    A file holds one tensor per edit, so that a later sweep adds only its new edits. Edits are told apart by their
    names: a name must cover everything that decides the edit.

    Parameters
    ----------
    samples
        Rows of the samples, all with tokens.
    """

    def __init__(self, context: SteeringContext, samples: np.ndarray):
        self._context, self.samples = context, samples
        folder = context.cache / settings_hash({"samples": samples.tolist()})
        chunks = [samples[start : start + CHUNK_SAMPLES] for start in range(0, len(samples), CHUNK_SAMPLES)]
        self._chunks = {folder / f"chunk-{number:05d}.safetensors": chunk for number, chunk in enumerate(chunks)}

    def compute(self, edits: Mapping[str, TokenEdit]) -> None:
        """Embed the samples unedited (`ORIGINAL`) and under every edit, unless the folder has them already."""
        edits = {ORIGINAL: unedited, **edits}
        known = {path: _names_in(path) for path in self._chunks}
        lacking = {path: {name: edits[name] for name in edits if name not in names} for path, names in known.items()}
        total = sum(len(chunk) * len(lacking[path]) for path, chunk in self._chunks.items())
        with progress_bar("steering", total, "embeddings") as advance:
            for path, chunk in self._chunks.items():
                if lacking[path]:
                    found = _embed(self._context, chunk, lacking[path], advance)
                    found = (load_file(path) if known[path] else {}) | found
                    with atomic_write(path) as temporary:
                        save_file(found, temporary)

    def of(self, name: str) -> np.ndarray:
        """Return the embeddings of the samples under an edit, ``(n_samples, d) float32``."""
        parts = []
        for path in self._chunks:
            with safe_open(path, framework="np") as file:
                parts.append(file.get_tensor(name))
        return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class SteeredSamples:
    """The embeddings of a sweep.

    Attributes
    ----------
    edited
        Samples that every setting edits.
    goal
        Treated samples of a perturbation, which nothing edits; None in other sweeps.
    """

    settings: dict[str, Setting]
    edited: SteeredEmbeddings
    goal: SteeredEmbeddings | None

    @classmethod
    def compute(cls, context: SteeringContext, plan: SteeringPlan, settings: dict[str, Setting]) -> SteeredSamples:
        """Embed the samples of the plan's parts under every setting; treated ones of a perturbation unedited.

        Raises
        ------
        DataError
            If a part has no samples, or for a perturbation fewer than two of a condition.
        """
        if plan.is_perturbation:
            rows, treated = (_rows_of_condition(context, plan, value) for value in plan.between)
        else:
            rows, treated = context.rows(*plan.parts), None
        logger.info("%d settings on %d samples", len(settings), len(rows))
        edited = SteeredEmbeddings(context, rows)
        goal = None if treated is None else SteeredEmbeddings(context, treated)
        edited.compute({setting.identity: setting.edit for setting in settings.values()})
        if goal is not None:
            goal.compute({})
        return cls(settings, edited, goal)

    def of(self, key: str) -> np.ndarray:
        """Return the embeddings of the edited samples under a setting or `ORIGINAL`, ``(n_samples, d) float32``."""
        return self.edited.of(key if key == ORIGINAL else self.settings[key].identity)

    def each(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yield the key, rows and embeddings of the unedited model, then of every setting."""
        rows, original = self.edited.samples, self.of(ORIGINAL)
        if self.goal is None:
            yield ORIGINAL, rows, original
        else:
            both = np.concatenate([rows, self.goal.samples])
            yield ORIGINAL, both, np.concatenate([original, self.goal.of(ORIGINAL)])
        yield from ((key, rows, self.of(key)) for key in self.settings)


def _names_in(path: Path) -> set[str]:
    """Return the names of the tensors of a file; none of one that is missing or cut off."""
    try:
        with safe_open(path, framework="np") as file:
            return set(file.keys())
    except (FileNotFoundError, SafetensorError):
        return set()


def _rows_of_condition(context: SteeringContext, plan: SteeringPlan, value: str) -> np.ndarray:
    by_part = []
    for part in plan.parts:
        rows = context.rows(part)
        rows = rows[context.column(plan.target, rows).group == value]
        if len(rows) < 2:
            message = f"{plan.target}={value} has {len(rows)} samples in the part {part}; at least 2 are needed"
            raise DataError(f"{message}: use more samples or a larger split")
        by_part.append(rows)
    return np.sort(np.concatenate(by_part))


def _embed(
    context: SteeringContext, samples: np.ndarray, edits: Mapping[str, TokenEdit], advance: Advance
) -> dict[str, np.ndarray]:
    """Return the embeddings of the samples under every edit, each ``(n, d) float32``."""
    place = {sample: row for row, sample in enumerate(samples.tolist())}
    out: dict[str, np.ndarray] = {}

    def edited(adapter: ModelAdapter, batch: TokenBatch) -> list[Tensor]:
        # Each thread has an adapter of its own, a twin of the context's.
        bound = sharing_tokens(context.sae, batch, edits.values())
        return [embedding.float().cpu() for embedding in adapter.embed_each(batch, context.layer, bound)]

    for batch, embeddings in each_batch(context.adapter, context.sequences, samples, context.tokens_per_batch, edited):
        rows = [place[sample] for sample in batch.sample.tolist()]
        for name, embedding in zip(edits, embeddings, strict=True):
            if name not in out:
                out[name] = np.empty((len(samples), embedding.shape[1]), dtype=np.float32)
            out[name][rows] = embedding.numpy()
        advance(len(rows) * len(edits))
    return out


def sharing_tokens(sae: SAE, batch: TokenBatch, edits: Iterable[TokenEdit]) -> list[Edit]:
    """Return the edits as the model takes them; all see the same tokens, so that a batch is encoded once."""
    sample = batch.sample.repeat_interleave(batch.content.sum(1))
    shared: list[EditableTokens] = []

    def bound(edit: TokenEdit) -> Edit:
        def of_activations(x: Tensor) -> Tensor:
            if not shared:
                shared.append(EditableTokens(sae, x, sample))
            return edit(shared[0])

        return of_activations

    return [bound(edit) for edit in edits]
