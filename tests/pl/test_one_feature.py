import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae import pl
from biosae.errors import SettingError
from biosae.features.token_codes import Entries, TokenCodesShard
from biosae.pl import neighbours


def test_most_active_cell_is_drawn_last(adata):
    ax = pl.feature_map(adata, 0, show=False)
    points = ax.collections[0]
    assert points.get_array().tolist() == [0, 0, 2, 3]
    assert points.get_offsets()[-1].tolist() == [1, 1]


def test_boxes_stand_at_the_quartiles_of_their_group(adata):
    ax = pl.activation(adata, 0, "cell_type", show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["B", "T"]
    box = ax.patches[0].get_path().vertices[:, 0]
    assert (box.min(), box.max()) == tuple(np.quantile([3, 2], [0.25, 0.75]))


def test_precision_and_recall_are_those_of_the_test_samples(adata):
    adata.obs["biosae_part"] = ["test", "test", "train", "test"]
    ax = pl.precision_recall(adata, 1, "cell_type", "T", show=False)
    recall, precision = ax.lines[0].get_xdata(), ax.lines[0].get_ydata()
    # codes 1 and 0.5 are T, 0 is B: perfect until everything counts as T
    assert list(zip(recall, precision, strict=True)) == [(1, 2 / 3), (1, 1), (0.5, 1), (0, 1)]
    assert ax.lines[1].get_ydata()[0] == 2 / 3
    with pytest.raises(SettingError, match="no test samples of both NK and another class"):
        pl.precision_recall(adata, 1, "cell_type", "NK", show=False)


def test_saves_a_vector_figure(adata, tmp_path):
    pl.feature_map(adata, 0, show=False, save=tmp_path / "map.svg")
    assert "<svg" in (tmp_path / "map.svg").read_text(encoding="utf-8")


def test_draws_on_given_axes(adata):
    ax = pl.activation(adata, 0, "cell_type", show=False)
    assert pl.activation(adata, 1, "cell_type", ax=ax, show=False) is ax


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a: pl.feature_map(a, 3, show=False), "between 0 and 2, got 3"),
        (lambda a: pl.feature_map(a, 0, basis="pca", show=False), "one of umap, got pca"),
        (lambda a: pl.activation(a, 0, "donor", show=False), "column of obs .cell_type., got donor"),
    ],
)
def test_bad_arguments_say_what_is_there(adata, call, message):
    with pytest.raises(SettingError, match=message):
        call(adata)


def test_what_is_not_there_is_told_with_what_to_type(adata):
    with pytest.raises(SettingError, match="feature is a number such as 12, or a name such as f12, got 'B'"):
        pl.activation(adata, "B", "cell_type", show=False)
    pl.activation(adata, "f1", "cell_type", show=False)
    pl.activation(adata, np.int64(1), "cell_type", show=False)
    del adata.obsm["X_umap"]
    with pytest.raises(SettingError, match="there is no map; .*use_rep='X_model'"):
        pl.feature_map(adata, 1, show=False)


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


def test_class_that_was_chosen_is_in_colour():
    rows = {
        "feature": [4, 4],
        "label": "cell_type",
        "class": ["B", "T"],
        "auroc_select": [0.6, 0.9],
        "auroc": [0.7, 0.6],
    }
    ax = pl.classes(pd.DataFrame(rows), 4, "cell_type", show=False)
    chosen, other = (patch.get_facecolor() for patch in ax.patches)
    assert [patch.get_width() for patch in ax.patches] == [0.6, 0.7]
    assert chosen != other


def test_top_genes_are_largest_first_from_above():
    genes = pd.DataFrame({"feature": [0, 0, 0, 1], "gene": list("ABCD"), "share": [0.1, 0.5, 0.2, 0.9]})
    ax = pl.top_genes(genes, 0, n=2, show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["C", "B"]
    assert [patch.get_width() for patch in ax.patches] == [20, 50]


def test_sets_are_ordered_by_corrected_p_and_show_their_fold():
    rows = {"feature": [0, 0, 1], "set": ["far", "near", "x"], "fold": [2.0, 8.0, 3.0], "q_value": [0.04, 1e-6, 0.01]}
    ax = pl.enrichment(pd.DataFrame(rows), 0, show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["far", "near"]
    assert [patch.get_width() for patch in ax.patches] == [2, 8]
    assert [text.get_text() for text in ax.texts] == ["q = 0.04", "q = 1e-06"]
    with pytest.raises(SettingError, match="feature 2 has no enriched gene set"):
        pl.enrichment(pd.DataFrame(rows), 2, show=False)


def test_neighbours_are_nearest_first_from_above():
    W_dec = np.array([[1, 0], [2, 2], [0, 3], [-1, 0]], dtype=np.float32)
    ax = neighbours(W_dec, 0, names=["a", "b", "c", "d"], show=False)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["3  d", "2  c", "1  b"]
    np.testing.assert_allclose([patch.get_width() for patch in ax.patches], [-1, 0, np.sqrt(0.5)], atol=1e-6)
