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


def test_text_is_text_and_only_an_empty_cell_is_missing(tmp_path, caplog):
    text = "id,ec,family,tag\n001,1.1,NA,\n002,1.10,None,x\n010,2.7,nan,y\n"
    with caplog.at_level("INFO"):
        table = read_annotations(write(tmp_path, text, "a.csv"), None, ["001", "002", "010", "NA"])
    assert table["ec"].tolist()[:3] == ["1.1", "1.10", "2.7"]
    assert table["family"].tolist()[:3] == ["NA", "None", "nan"]
    assert table["tag"].isna().tolist() == [True, False, False, True]
    assert "3 of 4 proteins annotated by a.csv" in caplog.text


def test_a_protein_may_be_called_NA(tmp_path):
    table = read_annotations(write(tmp_path, "id\tfamily\nNA\tx\nP1\ty\n"), None, ["NA", "P1"])
    assert table["family"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"{n}" for n in range(30)], "i"),
        ([f"{n:03d}" for n in range(30)], "O"),  # ids
        ([f"{n}.{n % 10}" for n in range(30)], "f"),
        ([f"{n / 8}" for n in range(30)], "f"),  # as pandas writes them: 1.0, 1.125
        ([f"{n:.2f}" for n in range(30)], "f"),
        ([*(f"3.{n}" for n in range(1, 30)), "4.1"], "O"),  # 3.1 and 3.10 are two enzyme classes
        ([f"{n % 6}.{n % 3 + 1}" for n in range(30)], "O"),  # few values: names
        (["1e5"] * 29 + ["NA"], "O"),
        ([f"{10**17 + n}" for n in range(30)], "O"),  # more digits than a number keeps
    ],
)
def test_numbers_are_columns_that_lose_no_digit(tmp_path, values, kind):
    rows = "".join(f"p{n}\t{value}\n" for n, value in enumerate(values))
    column = read_annotations(write(tmp_path, "id\tx\n" + rows), None, [f"p{n}" for n in range(30)])["x"]
    assert (column.dtype.categories.dtype.kind if column.dtype == "category" else column.dtype.kind) == kind
    assert [str(value) for value in column] == values or kind == "f"


@pytest.mark.parametrize("head", [",identifier,class", "index,identifier,class", "identifier,class"])
def test_a_column_that_numbers_the_rows_is_not_the_ids(tmp_path, caplog, head):
    """As pandas and R (whose header may lack the name) write a table with its row numbers."""
    rows = "2,P0,toxin\n0,P1,enzyme\n1,P2,enzyme\n"
    for ids in (["P0", "P1", "P2"], ["0", "1", "2"]):
        path = write(tmp_path, f"{head}\n{rows}", "a.csv")
        if ids[0] == "0":
            with pytest.raises(DataError, match="annotates none of the 3 proteins; for example it has P0, the data 0"):
                read_annotations(path, None, ids)
            continue
        with caplog.at_level("INFO"):
            table = read_annotations(path, None, ids)
        assert table["class"].tolist() == ["toxin", "enzyme", "enzyme"] and list(table) == ["class"]
        assert "its first column numbers the rows; ids are read from identifier" in caplog.text


def test_a_column_of_numbers_with_a_name_is_the_ids(tmp_path):
    table = read_annotations(write(tmp_path, "id\tx\n1\ta\n0\tb\n"), None, ["0", "1"])
    assert table["x"].tolist() == ["b", "a"]


def test_a_byte_order_mark_and_damaged_gzip(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfid,x\r\na,1.5\r\n")
    assert read_annotations(path, "id", ["a"])["x"].tolist() == ["1.5"]
    content = bytearray(gzip.compress(b"id,x\n" + bytes(range(97, 120)) * 40))
    content[20:30] = bytes(10)
    (tmp_path / "b.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match="b.csv.gz cannot be read"):
        read_annotations(tmp_path / "b.csv.gz", None, ["a"])
