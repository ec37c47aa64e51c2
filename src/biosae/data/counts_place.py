"""The matrices of a file of cells, each with its own genes, and the one that holds raw counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from anndata.io import read_elem

from biosae.errors import DataError

from .gene_rows import gene_rows
from .matrix import COUNTS, EMPTY, holds_counts, matrix_kind
from .store import by_rows, holds, shape_of, take

COUNTS_LAYER = 'layers["counts"]'


@dataclass(frozen=True)
class Place:
    """A matrix of a file.

    Attributes
    ----------
    name, key
        ``X``, ``raw`` or ``layers["<name>"]``, and its key in the file.
    genes
        Columns that are genes, ascending.
    var
        Annotations of these genes; those of ``raw`` are its own.
    findings
        Sentences about what was left out or passed over.
    damage
        The reason why the matrix cannot be used, "" where it can.
    """

    name: str
    key: str
    genes: np.ndarray
    var: pd.DataFrame
    findings: list[str] = field(default_factory=list)
    damage: str = ""


def places_of(store: Any, n_cells: int) -> dict[str, Place]:
    """Return all matrices of a file by name, in the order in which counts are looked for."""
    var = read_elem(store["var"])
    var_genes = gene_rows(var)
    layers = {f'layers["{name}"]': f"layers/{name}" for name in store.get("layers", {})}
    keys = {COUNTS_LAYER: "layers/counts", "X": "X", **layers}
    places = {name: _place(store, name, key, n_cells, var, *var_genes) for name, key in keys.items() if key in store}
    if "raw/X" in store:
        own = _raw_var(store, var)
        places["raw"] = _place(store, "raw", "raw/X", n_cells, own, *gene_rows(own))
    return {name: place for name, place in places.items() if holds(store, place.key)}


def _place(
    store: Any, name: str, key: str, n_cells: int, var: pd.DataFrame, genes: np.ndarray, findings: list[str]
) -> Place:
    shape, damage = shape_of(store[key]) if holds(store, key) else None, ""
    if shape != (n_cells, len(var)):
        damage = f"a matrix of shape {shape} where {n_cells} cells and {len(var)} genes have names"
    return Place(name, key, genes, var if len(genes) == len(var) else var.iloc[genes], list(findings), damage)


def _raw_var(store: Any, var: pd.DataFrame) -> pd.DataFrame:
    """The genes of raw, with the columns of var for those that it has too; none where they have no names."""
    own = read_elem(store["raw/var"]) if "raw/var" in store else var.iloc[:0]
    if not var.index.is_unique:
        return own
    return own.assign(**{name: var[name].reindex(own.index) for name in var if name not in own})


def find_counts(
    store: Any, n_cells: int, layer: str | None, blocks: Callable[[], Iterable[np.ndarray]]
) -> tuple[Place, str]:
    """Return the place of the raw counts and what it holds.

    Without ``layer``, ``layers["counts"]``, ``X`` and ``raw`` are tried in this order, and one with counts of more
    genes takes the place of one with fewer.

    Parameters
    ----------
    layer
        A layer, or ``X`` or ``raw``.
    blocks
        Rows of the cells that are used, some thousand at a time; the first with a value decides.

    Raises
    ------
    DataError
        If the layer does not exist or no matrix holds counts; the message describes each.
    """
    places = places_of(store, n_cells)
    tried = _tried(places, layer)
    kinds, found = {}, []
    for place in tried:
        if found and len(place.genes) <= len(found[-1].genes):
            continue
        kinds[place.name] = kind_of(store, place, blocks)
        if holds_counts(kinds[place.name]):
            found.append(place)
    if not found:
        raise DataError(_no_counts(kinds, places, layer), argument="counts_layer")
    best, kind = found[-1], kinds[found[-1].name]
    for other in found[:-1]:
        passed = f"{other.name} has counts of {len(other.genes):,} genes, {best.name} of {len(best.genes):,}"
        name = other.name.removeprefix('layers["').removesuffix('"]')
        best.findings.append(f"{passed}, which are used (name {name} as counts_layer for the fewer)")
    if kind != COUNTS:
        best.findings.append(f"{best.name} holds {kind}")
    return best, kind


def kind_of(store: Any, place: Place, blocks: Callable[[], Iterable[np.ndarray]]) -> str:
    """Describe the genes of a matrix by its first block that has a value other than zero."""
    if place.damage:
        return place.damage
    matrix = by_rows(store[place.key])
    kinds = (matrix_kind(take(matrix, rows)[:, place.genes]) for rows in blocks())
    return next((kind for kind in kinds if kind != EMPTY), EMPTY)


def _tried(places: dict[str, Place], layer: str | None) -> list[Place]:
    if layer is None:
        return [places[name] for name in (COUNTS_LAYER, "X", "raw") if name in places]
    name = f'layers["{layer}"]'
    name = layer if name not in places and layer in ("X", "raw") else name
    if name not in places:
        layers = [name.removeprefix('layers["').removesuffix('"]') for name in places if name not in ("X", "raw")]
        existing = ", ".join([*layers, *(name for name in ("X", "raw") if name in places)]) or "no matrix"
        message = f"counts_layer {layer} does not exist; this file has {existing}"
        raise DataError(message, argument="counts_layer")
    return [places[name]]


def _no_counts(kinds: dict[str, str], places: dict[str, Place], layer: str | None) -> str:
    found = "; ".join(f"{place} holds {kind}" for place, kind in kinds.items()) or "there is no X"
    advice = "give the layer with raw counts as counts_layer" if layer is None else "name another as counts_layer"
    others = [name.removeprefix('layers["').removesuffix('"]') for name in places if name not in kinds]
    if others:
        advice += f" (this file has also: {', '.join(others)})"
    return f"raw counts are needed, but {found}; {advice}"
