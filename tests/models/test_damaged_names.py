import numpy as np
import pandas as pd

from biosae.models.damaged_names import repaired_tokens
from biosae.models.gene_match import match_by_id, match_by_symbol

TOKENS = {
    "HLA-DRA": 0,
    "7SK": 1,
    "MARCH3": 2,
    "MARCH1": 3,
    "SEPT7": 4,
    "A-B": 5,
    "A/B": 6,
    "AC1.2": 7,
    "MT-CO1": 8,
    "SEP2": 9,
    "SEPTIN4": 10,
}


def test_names_of_r_and_of_spreadsheets_are_read():
    names = np.array(
        ["HLA.DRA", "X7SK", "3-MAR", "1-MAR", "SEP-07", "A.B", "AC1.9", "MT.CO1", "", "1-DEC", "2-SEP", "4-SEP"]
    )
    token, said = repaired_tokens(names, TOKENS)
    assert token.tolist() == [0, 1, 2, -1, 4, -1, -1, 8, -1, -1, -1, 10]  # A.B and 1-MAR may be two genes
    assert said == [
        "6 genes are called as dates of a spreadsheet (such as 3-MAR), 3 of which stay unknown "
        "(1-Mar may be MARCH1 or MARC1)",
        "3 genes are written as R does (such as HLA.DRA)",
    ]


def test_a_match_reads_them_only_where_no_id_names_the_gene():
    var = pd.DataFrame({"ensembl_id": ["", "", "", "ENSG9"], "symbol": ["Hla.dra", "7SK", "X8SK", "MT.CO1"]})
    for match in (match_by_id, match_by_symbol):
        found = match(var, TOKENS, "model", 9)
        assert found.token_of_column.tolist() == [0, 1, -1, -1]
        assert (found.n_by_symbol, found.n_by_id) == (2, 0)
        assert found.sentence.endswith("2 are unknown, such as X8SK, MT.CO1")


def test_columns_of_one_gene_are_counted():
    var = pd.DataFrame({"ensembl_id": "", "symbol": ["HLA-DRA", "HLA-DRA", "7SK"]})
    said = match_by_symbol(var, TOKENS, "model", 9).sentence
    assert said.endswith("the counts of 1 are added to those of another column of the same gene")
