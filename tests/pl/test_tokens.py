import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae import pl
from biosae.errors import SettingError
from biosae.features.token_codes import Entries, TokenCodesShard

PROTEINS = ["P1", "P2"]


class Codes:
    """Two proteins of 3 and 2 residues; feature 0 fires on three of them, feature 1 never."""

    d_sae = 2
    vocabulary = pd.DataFrame({"token": [0, 1], "identifier": ["A", "G"], "name": ["A", "G"]})
    code = np.array([[0.0, 0], [2, 0], [1, 0], [0, 0], [4, 0]], dtype=np.float32)
    sample, token = np.array([0, 0, 0, 1, 1]), np.array([0, 1, 0, 1, 0])
    value = np.array([1, 2, 3, 4, 100], dtype=np.float32)

    def entries(self, feature):
        on = self.code[:, feature] > 0
        return Entries(self.sample[on], self.token[on], self.value[on], self.code[on, feature])

    def shards(self):
        part = sparse.csc_matrix(self.code)
        yield TokenCodesShard(self.sample, self.token, self.value, part.indptr, part.indices, part.data)


@pytest.fixture
def proteins():
    pooled = sparse.csr_matrix(np.array([[2, 0], [4, 0]], dtype=np.float32))
    return anndata.AnnData(pooled, pd.DataFrame(index=PROTEINS))


def test_histogram_counts_the_tokens_where_the_feature_fires():
    ax = pl.histogram(Codes(), 0, show=False)
    heights = [patch.get_height() for patch in ax.patches]
    edges = [patch.get_x() for patch in ax.patches]
    assert sum(heights) == 3
    assert [round(edge, 6) for edge, n in zip(edges, heights, strict=True) if n] == [1.0, 2.0, 3.9]


def test_expression_stands_against_activation():
    (line,) = pl.expression(Codes(), 0, show=False).lines
    assert sorted(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(2, 2), (3, 1), (100, 4)]
    assert line.axes.get_xscale() == "log"


def test_residues_of_the_strongest_protein_come_first(proteins, tmp_path):
    spans = pd.DataFrame({"sample": [0], "start": [2], "end": [3], "concept": ["site"]})
    figure = pl.residues(proteins, Codes(), 0, spans=spans, show=False, save=tmp_path / "track.svg")
    first, second = figure.axes
    assert first.get_title(loc="left") == "P2, 2 residues"
    assert [bar.get_height() for bar in first.patches] == [0, 4]
    assert [bar.get_height() for bar in second.patches] == [0, 2, 1]
    assert second.lines[0].get_xdata().tolist() == [1.5, 3.5]
    assert "<svg" in (tmp_path / "track.svg").read_text(encoding="utf-8")


def test_a_feature_that_never_fires_is_refused(proteins):
    for call in (pl.histogram, pl.expression):
        with pytest.raises(SettingError, match="feature 1 never fires"):
            call(Codes(), 1, show=False)
    with pytest.raises(SettingError, match="feature 1 never fires"):
        pl.residues(proteins, Codes(), 1, show=False)
    with pytest.raises(SettingError, match="between 0 and 1, got 2"):
        pl.histogram(Codes(), 2, show=False)
