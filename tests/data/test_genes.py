import pandas as pd
import pytest

from biosae.data.genes import find_gene_names
from biosae.errors import DataError

IDS = ["ENSG00000000003.14", "ENSG00000000005", "ENSG00000000419"]
SYMBOLS = ["TSPAN6", "TNMD", "DPM1"]


def names(columns, index, column=None):
    index = pd.Index(index)
    return find_gene_names(pd.DataFrame(columns, index=index), index, column)


def test_ids_and_symbols_are_found_wherever_they_stand():
    found = names({"feature_name": SYMBOLS}, IDS)
    assert list(found.ensembl_id) == ["ENSG00000000003", "ENSG00000000005", "ENSG00000000419"]
    assert list(found.symbol) == SYMBOLS
    swapped = names({"gene_ids": IDS}, SYMBOLS)
    assert list(swapped.ensembl_id) == list(found.ensembl_id)
    assert list(swapped.symbol) == SYMBOLS


def test_row_numbers_are_not_taken_for_symbols():
    assert list(names({"gene_symbols": SYMBOLS}, ["0", "1", "2"]).symbol) == SYMBOLS


def test_a_named_column_is_the_only_one_read():
    found = names({"mine": SYMBOLS, "gene_ids": IDS}, ["a", "b", "c"], column="mine")
    assert list(found.symbol) == SYMBOLS
    assert list(found.ensembl_id) == ["", "", ""]


def test_missing_ids_are_empty_and_may_repeat():
    found = names({"gene_ids": [IDS[0], None, IDS[2]]}, SYMBOLS)
    assert list(found.ensembl_id) == ["ENSG00000000003", "", "ENSG00000000419"]


def test_repeated_ids_are_refused():
    with pytest.raises(DataError, match="occur more than once"):
        names({"gene_ids": [IDS[0], IDS[0], IDS[2]]}, SYMBOLS)


def test_each_gene_takes_its_own_name_from_a_mixed_index():
    found = names({}, [IDS[0], "TNMD", IDS[2]])
    assert list(found.ensembl_id) == ["ENSG00000000003", "", "ENSG00000000419"]
    assert list(found.symbol) == ["", "TNMD", ""]
    assert found.finding == "2 Ensembl ids from var_names and 1 gene symbols from var_names"


def test_numbers_of_entrez_are_no_symbols():
    found = names({"gene_id": ["7105", "64102", "8813.0"], "gene_name": SYMBOLS}, IDS)
    assert list(found.symbol) == SYMBOLS
    assert found.finding == 'Ensembl ids from var_names and gene symbols from var["gene_name"]'
    nameless = names({}, ["7105", "64102", "8813"])
    assert list(nameless.symbol) == ["", "", ""]
    assert nameless.finding.endswith("3 genes have neither")


def test_repeated_symbols_with_ids_of_their_own_are_told_apart_by_these():
    found = names({"gene_ids": IDS}, ["TBCE", "TBCE", "DPM1"])
    assert list(found.name) == [*IDS[:2], "DPM1"]
    assert list(found.symbol) == ["TBCE", "TBCE", "DPM1"]


def test_text_of_every_type_is_a_name():
    for dtype in ("string", "category", object):
        assert list(names({"gene_symbols": pd.Series(SYMBOLS, IDS, dtype=dtype)}, IDS).symbol) == SYMBOLS
