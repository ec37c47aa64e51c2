"""Where along its strongest proteins a feature fires, residue by residue."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from biosae.analysis.residues.scores import SPANS, read_stretches
from biosae.features.token_codes import SHARDS_OPEN, TokenCodesShard

from .run_folder import RunFolder
from .shards import offsets, packed_ragged

N_PROTEINS = 4  # of each feature
MOST_SPANS = 40  # of each protein


class Tracks:
    """The residues of a run's proteins.

    Parameters
    ----------
    shards
        The token codes; a protein's residues stand in its order in one of them.
    names
        ``(n_vocabulary,)`` letter of each token.
    spans
        Annotated stretches: ``sample``, ``start``, ``end``, ``concept``; None when there are none.
    """

    def __init__(self, shards: list[TokenCodesShard], names: np.ndarray, n_samples: int, spans: pd.DataFrame | None):
        self._shards, self._names, self._spans = shards, names, spans
        self._shard = np.full(n_samples, -1)
        self._first = np.zeros(n_samples, dtype=np.int64)
        self._length = np.zeros(n_samples, dtype=np.int64)
        for number, shard in enumerate(shards):
            sample, first, length = np.unique(shard.sample, return_index=True, return_counts=True)
            self._shard[sample], self._first[sample], self._length[sample] = number, first, length

    def of_features(self, block: list[tuple[np.ndarray, np.ndarray]], first: int) -> dict[str, Any]:
        """The strongest proteins of consecutive features: activation of each residue in 255ths of the largest.

        Parameters
        ----------
        block
            Samples and largest codes of each feature.
        first
            The first of these features.
        """
        samples, levels, counts = [], [], []
        for feature, (sample, code) in enumerate(block, start=first):
            strongest = sample[np.argsort(-code, kind="stable")[:N_PROTEINS]]
            counts.append(strongest)
            samples += strongest.tolist()
            levels += [np.ceil(255 * self.codes(feature, s) / code.max()).clip(max=255) for s in strongest]
        return {
            "offsets": offsets(counts),
            "sample": packed_ragged(counts, "u4"),
            "ends": offsets(levels),
            "level": packed_ragged(levels, "u1"),
            "proteins": {str(sample): self._protein(sample) for sample in sorted(set(samples))},
        }

    def codes(self, feature: int, sample: int) -> np.ndarray:
        """The feature's code on every residue of a protein."""
        shard, first = self._shards[self._shard[sample]], self._first[sample]
        owned = slice(*shard.feature_offsets[feature : feature + 2])
        place = shard.row[owned].astype(np.int64) - first
        inside = (place >= 0) & (place < self._length[sample])
        dense = np.zeros(self._length[sample], dtype=np.float32)
        dense[place[inside]] = shard.code[owned][inside]
        return dense

    def _protein(self, sample: int) -> dict[str, Any]:
        first, length = self._first[sample], self._length[sample]
        letters = "".join(self._names[self._shards[self._shard[sample]].token[first : first + length]])
        return {"letters": letters if len(letters) == length else "", "spans": self.spans_of(sample)}

    def spans_of(self, sample: int) -> list[list]:
        """The annotated stretches of a protein: ``[start, end, concept]``."""
        if self._spans is None:
            return []
        rows = self._spans[self._spans["sample"] == sample].head(MOST_SPANS)
        return [[int(start), int(end), concept] for start, end, concept in rows[["start", "end", "concept"]].to_numpy()]


def tracks_of(run: RunFolder) -> Tracks | None:
    """The residues of a run; None for cells and for embeddings of whole proteins."""
    codes = run.token_codes
    is_per_residue = run.settings["data"].get("kind") == "proteins" and run.table.obs["biosae_n_tokens"].max() > 1
    if codes is None or not is_per_residue or codes.n_shards > SHARDS_OPEN:
        return None
    path = run.folder / SPANS
    spans = read_stretches(path, run.table.obs_names) if path.exists() else None
    names = codes.vocabulary["name"].to_numpy(dtype=object)
    return Tracks(list(codes.shards()), names, run.table.n_obs, spans)
