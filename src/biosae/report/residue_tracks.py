"""Codes of a feature along its strongest proteins, residue by residue."""

from __future__ import annotations

from typing import Any

import numpy as np

from biosae.analysis.residues.annotations import RESIDUE_ANNOTATIONS, read_annotations
from biosae.analysis.residues.residue_codes import ResidueTracks
from biosae.features.token_codes import SHARDS_OPEN

from .page_data import offsets, packed_ragged
from .run_folder import RunFolder

N_PROTEINS = 4  # of each feature


def tracks_of_features(tracks: ResidueTracks, block: list[tuple[np.ndarray, np.ndarray]], first: int) -> dict[str, Any]:
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
        levels += [np.ceil(255 * tracks.codes(feature, s) / code.max()).clip(max=255) for s in strongest]
    return {
        "offsets": offsets(counts),
        "sample": packed_ragged(counts, "u4"),
        "ends": offsets(levels),
        "level": packed_ragged(levels, "u1"),
        "proteins": {
            str(sample): {"letters": tracks.sequence(sample), "spans": tracks.annotations(sample)}
            for sample in sorted(set(samples))
        },
    }


def tracks_of(run: RunFolder) -> ResidueTracks | None:
    """The residues of a run; None for cells and for embeddings of whole proteins."""
    codes = run.token_codes
    is_per_residue = run.settings["data"].get("kind") == "proteins" and run.table.obs["biosae_n_tokens"].max() > 1
    if codes is None or not is_per_residue or codes.n_shards > SHARDS_OPEN:
        return None
    path = run.folder / RESIDUE_ANNOTATIONS
    annotations = read_annotations(path, run.table.obs_names) if path.exists() else None
    names = codes.vocabulary["name"].to_numpy(dtype=object)
    return ResidueTracks(list(codes.shards()), names, run.table.n_obs, annotations)
