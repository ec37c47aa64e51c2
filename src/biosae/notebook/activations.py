"""Activations of samples at a layer, with their split: what training and encoding start from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from biosae.artefacts import settings_hash
from biosae.data.copies import hashes_of_vectors
from biosae.data.obs import find_label_keys
from biosae.data.samples import Samples
from biosae.data.split import Split, with_copies_together
from biosae.errors import DataError
from biosae.models.vectors import NamedTokens, StoredVectors
from biosae.pipeline.prepare import PreparedData, split_cells
from biosae.runs.data_settings import VectorData
from biosae.runs.settings import BufferSettings, ExperimentSettings, Settings

from .arrays import Rows, rows_of
from .scratch import scratch_folder

HELD_OUT = 0.3


@dataclass(frozen=True, eq=False)
class Activations:
    """Token activations of samples at one layer, and the parts that the samples belong to.

    Made by `biosae.tl.activations` from cells or proteins, or by `Activations.of` from numbers.

    Attributes
    ----------
    prepared
        Samples, split, model and tokens.
    settings
        Settings of a run on these data.
    layer
        Layer that activations are taken after, counted from 0.
    """

    prepared: PreparedData
    settings: Settings
    layer: int = 0

    @classmethod
    def of(
        cls,
        x: Tensor | np.ndarray | Iterable,
        *,
        sample_ids: Sequence[str] | None = None,
        token_ids: Sequence[str] | None = None,
        obs: pd.DataFrame | None = None,
        mask: np.ndarray | Tensor | None = None,
        group_key: str | None = None,
        held_out: float = HELD_OUT,
        name: str = "activations",
        seed: int = 0,
    ) -> Activations:
        """Return activations that are given as numbers.

        Identical samples stay in one part of the split.

        Parameters
        ----------
        x
            ``(n, d)`` or ``(n, n_tokens, d)`` tensor, array or memory map, or an iterator of ``(n, d)`` batches, which
            are written to a temporary file as they come.
        sample_ids
            Name of the sample that each row belongs to; None: each row is a sample.
        token_ids
            What each token stands for (a gene, a residue), in the shape of ``x`` without its width; None: no names.
        obs
            Annotations, one row per sample, indexed by its name or in the order in which samples appear.
        mask
            Tokens of a three-dimensional ``x`` that are no padding.
        group_key
            Column of ``obs`` (donor, batch, cluster) whose values are kept whole in the split.
        held_out
            Share of the samples that training never sees; half of it chooses, half reports.
        name
            Of the model that made the numbers: an SAE reads numbers of the same name and width.
        seed
            Of the split.

        Raises
        ------
        DataError
            If shapes or names do not fit each other, or a number is not finite.
        """
        rows, place = rows_of(x, sample_ids, mask)
        tokens = None if token_ids is None else _named(token_ids, place)
        samples = _samples(rows, obs)
        hashes = hashes_of_vectors(rows)
        split = with_copies_together(split_cells(samples, held_out, group_key, seed), hashes)[0]
        content = settings_hash({"numbers": hashes.tolist(), "ids": rows.ids.tolist()})
        adapter = StoredVectors(rows, name, content, tokens)
        prepared = PreparedData([], samples, split, adapter, adapter.tokenize(rows), content=content)
        scratch = scratch_folder()
        settings = Settings(
            data=VectorData(name=name, description=f"{name}, given in Python", label_keys=samples.label_keys),
            buffer=BufferSettings(cache=f"{scratch}/activations", dtype="float32"),
            experiment=ExperimentSettings(root=str(scratch)),
            seed=seed,
        )
        return cls(prepared, settings)

    @property
    def d_in(self) -> int:
        """Width of an activation."""
        return self.prepared.adapter.d_model

    @property
    def n_tokens(self) -> int:
        """Number of tokens, special ones included."""
        return len(self.prepared.sequences.token)

    @property
    def split(self) -> Split:
        """Part of each sample."""
        return self.prepared.split

    @property
    def obs(self) -> pd.DataFrame:
        """Annotations of the samples, indexed by their names."""
        return self.prepared.samples.named_obs()

    def __repr__(self) -> str:
        parts = ", ".join(f"{n:,} {part}" for part, n in self.split.sizes().items())
        name, n = self.prepared.adapter.name, len(self.prepared.samples.obs)
        return f"{self.n_tokens:,} activations of {name}, layer {self.layer}, {self.d_in} wide; {n:,} samples: {parts}"

    def in_folder(self, folder: Path | str) -> Activations:
        """Return the same, with runs and stored activations in a folder that stays."""
        experiment = replace(self.settings.experiment, root=str(folder))
        buffer = replace(self.settings.buffer, cache=f"{folder}/activations")
        return replace(self, settings=replace(self.settings, experiment=experiment, buffer=buffer))


def _named(token_ids: Sequence[str], place: np.ndarray) -> NamedTokens:
    given = np.asarray(token_ids).astype(str).ravel()
    if len(given) <= place.max():
        message = f"token_ids must name every token of x, got {len(given):,} names"
        raise DataError(message, argument="token_ids")
    names, number = np.unique(given[place], return_inverse=True)
    return NamedTokens(number.astype(np.int32), names.tolist())


def _samples(rows: Rows, obs: pd.DataFrame | None) -> Samples:
    obs = pd.DataFrame(index=pd.Index(rows.ids, name="sample")) if obs is None else obs
    if len(obs) != len(rows.ids):
        raise DataError(f"obs must have one row for each of {len(rows.ids):,} samples, got {len(obs):,}", "obs")
    if set(obs.index.astype(str)) == set(rows.ids):
        obs = obs.set_axis(obs.index.astype(str), axis=0).loc[rows.ids]
    numbered = obs.reset_index(drop=True)
    return Samples(numbered, partial(list, [rows.ids]), find_label_keys(numbered, None))
