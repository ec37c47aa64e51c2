import gzip

import pytest

from biosae.data.annotations import read_annotations
from biosae.data.obs import find_label_keys
from biosae.errors import DataError


def write(tmp_path, text, name="a.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_rows_come_in_the_order_of_the_proteins_and_unknown_ones_are_empty(tmp_path):
    path = write(tmp_path, "Entry\tGO\tmass\nb\tx; y\t2\nzz\tq\t3\nsp|a|A_HUMAN\tx\t1\n")
    table = read_annotations(path, None, ["a", "b", "c"])
    assert list(table.index) == ["a", "b", "c"]
    assert list(table["GO"].astype(object).fillna("-")) == ["x", "x; y", "-"]
    assert table["mass"].iloc[:2].tolist() == [1, 2]
    assert table["GO"].dtype == "category"


def test_commas_gz_and_another_id_column(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"n,accession,family\n1,a,Kv\n2,b,Kir\n"))
    assert list(read_annotations(path, "accession", ["b", "a"])["family"]) == ["Kir", "Kv"]


def test_text_columns_are_found_as_labels(tmp_path):
    rows = "".join(f"p{n}\t{'AB'[n % 2]}\t{n}\ttext{n}\n" for n in range(40))
    table = read_annotations(write(tmp_path, "id\tfamily\tnumber\tfree\n" + rows), None, [f"p{n}" for n in range(40)])
    assert find_label_keys(table, None) == ["family"]


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("id\tx\nq\t1\n", None, "annotates none of the 2 proteins; for example it has q, the data a"),
        ("id\tx\na\t1\na\t2\n", None, "several rows for a protein, for example a; join its terms by ';'"),
        ("id\tx\na\t1\n", "nope", "has no column nope; it has id, x"),
        ("", None, "cannot be read"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, column, says):
    with pytest.raises(DataError, match=says):
        read_annotations(write(tmp_path, text), column, ["a", "b"])
    with pytest.raises(DataError, match="does not exist"):
        read_annotations(tmp_path / "absent.tsv", None, ["a"])
