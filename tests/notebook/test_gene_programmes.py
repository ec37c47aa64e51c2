"""Genes of features in a file that other tools read."""

import pandas as pd
import pytest

from biosae.analysis.genes.gene_sets import read_gene_sets
from biosae.errors import DataError, SettingError
from biosae.notebook.gene_programmes import write_gmt

GENES = pd.DataFrame(
    [(10, "CD74", 0.3), (2, "LYZ", 0.1), (2, "S100A9", 0.5), (2, "LYZ", 0.05), (2, None, 0.9), (2, "FTL", 0.01)],
    columns=["feature", "gene", "share"],
)


def test_the_genes_of_largest_share_come_first(tmp_path):
    assert write_gmt(tmp_path / "features.gmt", GENES, n=2) == 2
    lines = (tmp_path / "features.gmt").read_text().splitlines()
    assert lines == ["f2\tgenes it reads\tS100A9\tLYZ", "f10\tgenes it reads\tCD74"]


def test_our_own_reader_of_gene_sets_opens_it(tmp_path):
    write_gmt(tmp_path / "features.gmt", GENES, n=50)
    assert len(read_gene_sets([tmp_path / "features.gmt"])) == 2


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(SettingError, match="at least 1, got 0"):
        write_gmt(tmp_path / "features.gmt", GENES, n=0)
    with pytest.raises(DataError, match="no genes"):
        write_gmt(tmp_path / "features.gmt", None, n=5)
