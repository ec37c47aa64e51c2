"""Names of genes for vocabularies of symbols."""

import pandas as pd
import pytest

from biosae.errors import ModelError
from biosae.models.gene_match import match_by_id, match_by_symbol
from biosae.models.symbols import approved_symbols, token_of_any_name


def test_ids_and_former_symbols_lead_to_the_gene():
    tokens = token_of_any_name({"A1BG": 0, "NCRNA00181": 1, "C1orf112": 2})
    assert tokens["ENSG00000121410"] == tokens["A1BG"] == 0
    # A1BG-AS1 was NCRNA00181: a vocabulary with the old name serves data with the new one, and by id.
    assert tokens["A1BG-AS1"] == tokens["ENSG00000268895"] == tokens["NCRNA00181"] == 1
    assert tokens["C1ORF112"] == 2


def test_a_symbol_of_the_vocabulary_means_itself():
    tokens = token_of_any_name({"A1BG-AS1": 0, "NCRNA00181": 1})
    assert (tokens["A1BG-AS1"], tokens["NCRNA00181"]) == (0, 1)


def test_genes_are_called_by_their_approved_symbol():
    symbols = approved_symbols()
    assert [symbols[gene] for gene in ("ENSG00000019582", "ENSG00000196154")] == ["CD74", "S100A4"]
    assert "C1orf21" in symbols.values()


VAR = pd.DataFrame({"ensembl_id": ["ENSG1.4", "", "ENSG9", ""], "symbol": ["B", "b", "A", "Z"]})


def test_ids_come_first_for_vocabularies_of_ids():
    match = match_by_id(VAR, {"ENSG1": 0, "B": 1, "A": 2}, "model", 3)
    assert match.token_of_column.tolist() == [0, 1, -1, -1]
    assert (match.n_by_id, match.n_by_symbol) == (1, 1)
    assert match.sentence.startswith("model knows 2 of 4 genes (1 by Ensembl id, 1 by symbol); they cover 2 of the 3")


def test_symbols_come_first_for_vocabularies_of_symbols():
    match = match_by_symbol(VAR, {"ENSG1": 0, "B": 1, "ENSG9": 2}, "model", 3)
    assert match.token_of_column.tolist() == [1, 1, 2, -1]
    assert (match.n_by_id, match.n_by_symbol) == (1, 2)


@pytest.mark.parametrize("match", [match_by_id, match_by_symbol])
def test_no_match_names_the_genes(match):
    with pytest.raises(ModelError, match=r"knows none of the 4 genes \(they are called ENSG1.4, b, ENSG9\)"):
        match(VAR, {"Q": 0}, "model", 1)


@pytest.mark.parametrize("match", [match_by_id, match_by_symbol])
def test_chance_hits_are_too_few(match):
    var = pd.DataFrame({"ensembl_id": "", "symbol": [f"probe{n}" for n in range(40)]})
    names = {f"PROBE{n}": n for n in range(40)}
    two, three = dict(list(names.items())[:2]), dict(list(names.items())[:3])
    assert match(var, three, "model", 1000).n_matched == 3
    with pytest.raises(ModelError, match="knows 2 of the 40 genes"):
        match(var, two, "model", 1000)
    assert match(var, two, "a model of two genes", 2).n_matched == 2


@pytest.mark.parametrize("match", [match_by_id, match_by_symbol])
def test_symbols_of_a_mouse_are_refused(match):
    var = pd.DataFrame({"ensembl_id": "", "symbol": ["Actb", "Cd8a", "H2-K1", "Gapdh"]})
    with pytest.raises(ModelError, match=r"of a mouse \(Actb, Cd8a, Gapdh\).*orthologues"):
        match(var, {"ACTB": 0, "GAPDH": 1}, "model", 2)
