import numpy as np
import pandas as pd
import pytest
from torch import nn

from biosae.models.cell_adapter import CellAdapter


class Bare(CellAdapter):
    """A model of cells with nothing of its own."""

    def tokenize(self, samples):
        raise NotImplementedError

    def run(self, batch):
        raise NotImplementedError


def bare(vocabulary, **settings):
    network = nn.Module()
    network.layers = nn.ModuleList([nn.Sequential(), nn.Sequential()])
    return Bare("bare", network, vocabulary, 8, **settings)


def test_entries_in_angle_brackets_are_no_genes():
    adapter = bare(["<cls>", "ACTB", "<pad>", "TP53"])
    assert (adapter.n_genes, adapter.n_layers, adapter.pad_token) == (2, 2, 2)
    var = pd.DataFrame({"ensembl_id": "", "symbol": ["tp53", "<cls>", "ACTB", "novel"]})
    assert adapter.match_genes(var).token_of_column.tolist() == [3, -1, 1, -1]


def test_a_vocabulary_of_genes_alone_pads_with_its_first_token():
    adapter = bare(["ACTB", "TP53"])
    assert (adapter.n_genes, adapter.pad_token) == (2, 0)


@pytest.mark.parametrize("names", [None, ["actin", "p53"]])
def test_tokens_have_the_names_of_the_vocabulary_or_others(names):
    adapter = bare(["ACTB", "TP53"], token_names=names)
    np.testing.assert_array_equal(adapter.token_names, names or ["ACTB", "TP53"])


def test_activations_are_read_at_the_blocks_by_default():
    adapter = bare(["ACTB"])
    assert [adapter.site(layer) for layer in range(2)] == list(adapter.network.layers)
