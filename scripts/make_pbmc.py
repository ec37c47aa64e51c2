"""Make the embedded data set: the labelled PBMC 3k cells and the genes that at least three of them express.

python scripts/make_pbmc.py SOURCE src/biosae/data/embedded/pbmc3k.h5ad

SOURCE is "3k PBMCs from a Healthy Donor" of 10x Genomics (Cell Ranger 1.1.0, hg19) as AnnData: the counts of all 2,700
cells and 32,738 genes in ``X``, Ensembl ids in ``var["gene_ids"]``, and in ``obs`` the cell types of the Seurat
tutorial (the R package clustifyr has them), "unlabelled" where it gives none: ``cell_type``, and ``cell_type_coarse``,
which groups them.
"""

import sys

import anndata
import numpy as np


def main() -> None:
    source, target = sys.argv[1:]
    cells = anndata.read_h5ad(source)
    cells = cells[cells.obs["cell_type"] != "unlabelled"]
    cells = cells[:, cells.X.getnnz(axis=0) >= 3].copy()
    cells.X = cells.X.astype(np.uint16)
    cells.obs = cells.obs[["cell_type", "cell_type_coarse"]].apply(lambda column: column.cat.remove_unused_categories())
    cells.var = cells.var[["gene_ids"]]
    cells.uns = {"source": "10x Genomics, 3k PBMCs from a healthy donor, CC BY 4.0; labels from the Seurat tutorial"}
    cells.write_h5ad(target, compression="gzip", compression_opts=9)


if __name__ == "__main__":
    main()
