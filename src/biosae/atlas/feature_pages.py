"""Content of the pages of features, one block of features at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from biosae.analysis.geometry import nearest_features, unit_rows
from biosae.analysis.residues.domains import RESIDUE_ANNOTATIONS, read_residue_annotations
from biosae.analysis.residues.residue_codes import ResidueTracks
from biosae.features.token_codes import SHARDS_OPEN, evenly

from .cell_map import CellMap
from .expressed_genes import ExpressionTables
from .gene_index import GeneIndex
from .label_tables import LabelTables
from .page_data import offsets, packed, packed_ragged
from .run_folder import RunFolder
from .steering_tables import SteeringTables

FEATURES_PER_SHARD = 64
N_BINS = 40
N_TOP_CELLS = 20
N_SETS = 20
N_PROTEINS = 4  # of each feature, drawn residue by residue
SET_COLUMNS = ("set", "source", "overlap", "list_size", "set_size", "fold", "p_value", "q_value", "genes")
TRIED_COLUMNS = ("kind", "label", "terms", "fidelity_select", "fidelity")
MOST_SHOWN = 9  # features on the first page


def feature_pages(
    run: RunFolder,
    genes: GeneIndex,
    labels: LabelTables,
    cells: CellMap | None,
    tracks: ResidueTracks | None = None,
    steering: SteeringTables | None = None,
    expressed: ExpressionTables | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of one shard after the other."""
    codes = run.table.X.tocsc()  # (n_samples, d_sae)
    place = None if cells is None else _places(cells, run.table.n_obs)
    directions = None if run.W_dec is None else unit_rows(run.W_dec)
    for number, first in enumerate(range(0, run.d_sae, FEATURES_PER_SHARD)):
        last = min(first + FEATURES_PER_SHARD, run.d_sae)
        block = [_column(codes, feature) for feature in range(first, last)]
        content = {"first": first, "n_bins": N_BINS, "top_cells": _top_cells(block)}
        if place is not None:
            content["cells"] = _shown_cells(block, place)
        if run.genes is not None:
            content["genes"] = genes.of_features(first, last)
        if expressed is not None and expressed.exist:
            content["expressed"] = expressed.of_features(first, last)
        if run.explanations_tried is not None:
            content["tried"] = _tried(run.explanations_tried, first, last)
        if labels.keys:
            content["labels"] = labels.of_features(first, last)
        if run.token_codes is not None:
            content |= _tokens(run, genes, first, last)
        if tracks is not None:
            content["tracks"] = tracks_of_features(tracks, block, first)
        if steering is not None and steering.settings:
            content["steering"] = steering.of_features(first, last)
        if run.enrichment is not None:
            content["enrichment"] = _enriched_sets(run.enrichment, first, last)
        if directions is not None:
            nearest, cosine = nearest_features(directions, first, last)
            arrays = {"feature": packed(nearest, "u4"), "cosine": packed(cosine, "f4")}
            content["neighbours"] = {"n": nearest.shape[1]} | arrays
        yield f"features-{number}", content


def gallery(run: RunFolder, labels: list[dict[str, Any]], cells: CellMap) -> dict[str, Any]:
    """The features that mark the classes of the first label best, and the cells on the map where they fire."""
    best = sorted(labels[0]["best"], key=lambda row: -(row["auroc"] or 0))[:MOST_SHOWN]
    codes = run.table.X.tocsc()
    block = [_column(codes, row["feature"]) for row in best]
    return {"label": labels[0]["key"], "best": best, "cells": _shown_cells(block, _places(cells, run.table.n_obs))}


def _column(codes: Any, feature: int) -> tuple[np.ndarray, np.ndarray]:
    owned = slice(*codes.indptr[feature : feature + 2])
    return codes.indices[owned], codes.data[owned]


def _places(cells: CellMap, n_samples: int) -> np.ndarray:
    place = np.full(n_samples, -1, dtype=np.int64)
    place[cells.sample] = np.arange(len(cells.sample))
    return place


def _shown_cells(block: list[tuple[np.ndarray, np.ndarray]], place: np.ndarray) -> dict[str, Any]:
    """Cells on the map where each feature is active, its code in 255ths of the feature's largest."""
    index, level = [], []
    for sample, code in block:
        shown = place[sample] >= 0
        index.append(place[sample][shown])
        level.append(np.ceil(255 * code[shown] / code.max()) if len(code) else code)
    small = "u2" if len(place) <= 1 << 16 else "u4"
    return {"offsets": offsets(index), "index": packed_ragged(index, small), "level": packed_ragged(level, "u1")}


def _top_cells(block: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    order = [np.argsort(-code, kind="stable")[:N_TOP_CELLS] for _, code in block]
    sample = [pair[0][rows] for pair, rows in zip(block, order, strict=True)]
    code = [pair[1][rows] for pair, rows in zip(block, order, strict=True)]
    return {"offsets": offsets(sample), "sample": packed_ragged(sample, "u4"), "code": packed_ragged(code, "f4")}


def _enriched_sets(table: pd.DataFrame, first: int, last: int) -> list[list[dict[str, Any]]]:
    """The gene sets of each feature, smallest q-value first."""
    rows = table[table["feature"].between(first, last - 1)].sort_values("q_value", kind="stable")
    rows = rows.astype(object).where(rows.notna(), None)  # JSON knows no NaN
    sets: list[list[dict[str, Any]]] = [[] for _ in range(first, last)]
    for feature, group in rows.groupby("feature"):
        sets[int(feature) - first] = group[list(SET_COLUMNS)].head(N_SETS).to_dict("records")
    return sets


def _tried(table: pd.DataFrame, first: int, last: int) -> list[list[dict[str, Any]]]:
    """The explanations tried for each feature, largest fidelity on select first."""
    rows = table[table["feature"].between(first, last - 1)].sort_values(
        "fidelity_select", ascending=False, kind="stable"
    )
    rows = rows.astype(object).where(rows.notna(), None)  # JSON knows no NaN
    tried: list[list[dict[str, Any]]] = [[] for _ in range(first, last)]
    for feature, group in rows.groupby("feature"):
        tried[int(feature) - first] = group[list(TRIED_COLUMNS)].to_dict("records")
    return tried


def _tokens(run: RunFolder, genes: GeneIndex, first: int, last: int) -> dict[str, Any]:
    """Histograms of the codes of single tokens, and a few tokens with their input value and code."""
    histograms, drawn = [], []
    for feature in range(first, last):
        entries = run.token_codes.entries(feature)
        histograms.append(_histogram(entries.code))
        rows = evenly(entries.code)
        drawn.append((genes.of_token[entries.token[rows]], entries.value[rows], entries.code[rows]))
    gene, value, code = (list(part) for part in zip(*drawn, strict=True))
    tokens = {"offsets": offsets(gene), "gene": packed_ragged(gene, "i4")}
    tokens |= {"value": packed_ragged(value, "f4"), "code": packed_ragged(code, "f4")}
    return {"histogram": packed(np.concatenate(histograms), "u4"), "tokens": tokens}


def _histogram(code: np.ndarray) -> np.ndarray:
    """``(N_BINS,)`` entries in equal steps from 0 to the largest code."""
    step = float(code.max(initial=0)) / N_BINS or 1.0
    return np.bincount(np.minimum((code / step).astype(np.int64), N_BINS - 1), minlength=N_BINS)


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
    annotations = read_residue_annotations(path, run.table.obs_names) if path.exists() else None
    names = codes.vocabulary["name"].to_numpy(dtype=object)
    return ResidueTracks(list(codes.shards()), names, run.table.n_obs, annotations)
