"""Raw counts of a file, and a description of its matrices."""

from __future__ import annotations

import anndata
import numpy as np
from scipy import sparse

from biosae.errors import DataError


def find_counts(adata: anndata.AnnData, layer: str | None) -> tuple[sparse.csr_matrix, str]:
    """Return the raw counts as CSR float32, and their place in the file.

    Without ``layer``, ``layers["counts"]``, ``X`` and ``raw`` are tried in this order; ``raw`` only where it has the
    genes of ``X``.

    Raises
    ------
    DataError
        If the layer does not exist or no matrix holds counts; the message describes each.
    """
    places = _places(adata, layer)
    kinds = {}
    for place, matrix in places.items():
        kinds[place] = matrix_kind(matrix)
        if kinds[place] == "counts":
            return sparse.csr_matrix(matrix, dtype=np.float32), place
    found = "; ".join(f"{place} holds {kind}" for place, kind in kinds.items()) or "there is no X"
    advice = "give the layer with raw counts as counts_layer"
    others = [name for name in adata.layers if f'layers["{name}"]' not in places]
    if others:
        advice += f" (this file has also: {', '.join(others)})"
    raise DataError(f"raw counts are needed, but {found}; {advice}", argument="counts_layer")


def matrix_kind(matrix) -> str:
    """Describe the content of a matrix: ``counts``, or the reason why it is not."""
    values = matrix.data if sparse.issparse(matrix) else np.asarray(matrix).ravel()
    if values.size == 0:
        return "no value but zero"
    if not np.isfinite(values).all():
        return "NaN or infinite values"
    if values.min() < 0:
        return f"negative values (smallest {values.min():.3g}, scaled or centred data)"
    if values.max() == 0:
        return "no value but zero"
    if not np.array_equal(values, np.rint(values)):
        largest = values.max()
        name = "log-transformed values" if largest < 25 else "values that are not whole numbers"
        return f"{name} (largest {largest:.3g})"
    return "counts"


def _places(adata: anndata.AnnData, layer: str | None) -> dict:
    if layer is not None:
        if layer not in adata.layers:
            existing = ", ".join(adata.layers) or "no layers"
            message = f"counts_layer {layer} does not exist; this file has {existing}"
            raise DataError(message, argument="counts_layer")
        return {f'layers["{layer}"]': adata.layers[layer]}
    places = {}
    if "counts" in adata.layers:
        places['layers["counts"]'] = adata.layers["counts"]
    if adata.X is not None:
        places["X"] = adata.X
    if adata.raw is not None and adata.raw.shape == adata.shape:
        places["raw"] = adata.raw.X
    return places
