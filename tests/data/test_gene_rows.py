"""Rows of var that are not genes."""

import numpy as np
import pandas as pd
import pytest

from biosae.data.cells import read_cells
from biosae.data.gene_rows import gene_rows
from biosae.errors import DataError

KINDS = ["Gene Expression", "Antibody Capture", "Peaks", "CRISPR Guide Capture", "Multiplexing Capture", "Custom"]


@pytest.mark.parametrize(
    ("column", "kinds", "rows", "says"),
    [
        ("feature_types", KINDS, [0], "1 Antibody Capture, 1 Peaks, 1 CRISPR Guide Capture, 1 Multiplexing"),
        ("feature_types", ["Gene Expression", None], [0, 1], None),  # of a file that was joined with another
        ("feature_biotype", ["gene", "spike-in", "gene"], [0, 2], "1 spike-in rows left out"),
        ("modality", ["rna", "prot"], [0], "1 prot rows left out"),
        ("feature_type", ["protein_coding", "lncRNA"], [0, 1], None),  # a biotype of genes, as in the Census
    ],
)
def test_only_genes_are_kept(column, kinds, rows, says):
    for dtype in (object, "category", "string"):
        kept, sentences = gene_rows(pd.DataFrame({column: pd.Series(kinds, dtype=dtype)}))
        assert kept.tolist() == rows
        assert sentences == [] if says is None else sentences[0].startswith(says)


def test_a_file_of_antibodies_alone_is_refused():
    with pytest.raises(DataError, match=r'no row of var is a gene: var\["feature_types"\] holds Antibody Capture'):
        gene_rows(pd.DataFrame({"feature_types": ["Antibody Capture"] * 3}))


@pytest.mark.parametrize("in_raw", [False, True])
def test_antibodies_count_neither_as_genes_nor_in_the_library(adata, write, in_raw):
    genes = adata[:, :8].to_df()
    adata.var["feature_types"] = ["Gene Expression"] * 8 + ["Antibody Capture"] * 4
    adata.var_names = [*adata.var_names[:8], *adata.var_names[:4]]  # called as the gene they bind
    if in_raw:
        adata.raw = adata.copy()
        adata.X = adata.X.log1p()
    path = write(adata)
    cells = read_cells(path)
    np.testing.assert_array_equal(cells.adata.to_df().to_numpy(), genes.to_numpy())
    np.testing.assert_array_equal(cells.obs["n_counts"], genes.sum(1))
    assert "40 cells x 8 genes" in cells.findings[0]
    assert "4 Antibody Capture rows left out" in cells.findings
