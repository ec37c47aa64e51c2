"""Make the second embedded data set: blood cells of other donors, whose classes come from their surface proteins.

python scripts/make_pbmc_cite.py SOURCE src/biosae/datasets/pbmc_cite/pbmc_cite.h5ad

SOURCE holds 200 cells each of "5k" and "10k Peripheral Blood Mononuclear Cells (PBMCs) from a Healthy Donor with
Cell Surface Proteins (v3 chemistry)" of 10x Genomics as AnnData (a test file of scvi-tools): counts in ``X``, Ensembl
ids in ``var["gene_ids"]``, antibodies in ``obsm["protein_expression"]``, which ``uns["protein_names"]`` names.
"""

import sys

import anndata
import numpy as np
import pandas as pd

MIN_CELLS = 3  # that express a gene
GATES = {  # counts of antibodies: at least, below
    "B": {"CD19": (100, None), "CD3": (None, 100)},
    "CD14+ Mono": {"CD14": (200, None), "CD16": (None, 100), "CD3": (None, 200), "CD19": (None, 100)},
    "FCGR3A+ Mono": {"CD16": (100, None), "CD14": (10, 300), "CD56": (None, 40), "CD3": (None, 100)},
    "NK": {"CD56": (60, None), "CD3": (None, 100), "CD14": (None, 100), "CD19": (None, 100)},
    "CD8 T": {"CD3": (200, None), "CD8a": (300, None), "CD4": (None, 200)},
    "Naive CD4 T": {"CD3": (200, None), "CD4": (300, None), "CD45RA": (300, None), "CD45RO": (None, 80)},
    "Memory CD4 T": {"CD3": (200, None), "CD4": (300, None), "CD45RA": (None, 300), "CD45RO": (80, None)},
}
"""The classes of PBMC 3k that surface proteins tell; a cell that passes no gate or several is left out."""

COARSE = {"CD14+ Mono": "Mono", "FCGR3A+ Mono": "Mono", "Naive CD4 T": "CD4 T", "Memory CD4 T": "CD4 T"}


def main() -> None:
    source, target = sys.argv[1:]
    cells = anndata.read_h5ad(source)
    names = [name.partition("_")[0] for name in cells.uns["protein_names"]]
    cells.obs["cell_type"] = gated(pd.DataFrame(cells.obsm["protein_expression"], columns=names))
    cells = cells[cells.obs["cell_type"] != ""]
    cells = cells[:, cells.X.getnnz(axis=0) >= MIN_CELLS].copy()
    cells.X = cells.X.astype(np.uint16)
    cells.obs["cell_type_coarse"] = cells.obs["cell_type"].map(lambda name: COARSE.get(name, name))
    cells.obs = cells.obs[["cell_type", "cell_type_coarse", "batch"]].astype("category")
    cells.var, cells.obsm = cells.var[["gene_ids"]], {}
    cells.uns = {"source": "10x Genomics, 5k and 10k PBMCs with cell surface proteins, CC BY 4.0; classes by gates"}
    cells.write_h5ad(target, compression="gzip", compression_opts=9)


def gated(counts: pd.DataFrame) -> np.ndarray:
    """Class of each cell, "" where it passes no gate or several."""
    passed = np.column_stack([_passes(counts, gate) for gate in GATES.values()])
    names = np.array(list(GATES), dtype=object)
    return np.where(passed.sum(axis=1) == 1, names[passed.argmax(axis=1)], "")


def _passes(counts: pd.DataFrame, gate: dict) -> np.ndarray:
    passed = np.ones(len(counts), dtype=bool)
    for name, (least, below) in gate.items():
        passed &= True if least is None else (counts[name] >= least).to_numpy()
        passed &= True if below is None else (counts[name] < below).to_numpy()
    return passed


if __name__ == "__main__":
    main()
