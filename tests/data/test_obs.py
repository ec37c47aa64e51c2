import pandas as pd
import pytest

from biosae.data.cells import read_cells
from biosae.data.obs import find_batch_key, same_values
from biosae.errors import DataError


@pytest.mark.parametrize(
    ("wanted", "known", "meant"),
    [
        (1, ["0", "1", "10"], ["1"]),
        ("1", [0, 1, 10], [1]),
        (True, ["False", "True"], ["True"]),
        (1, [1, "1"], [1]),
        (1, [1.0, 2.0], [1.0]),
        ("01", ["1"], []),
    ],
)
def test_a_number_means_the_text_where_a_column_holds_text(wanted, known, meant):
    assert same_values(wanted, known) == meant


def test_a_filter_takes_a_number_for_the_name_of_a_cluster(adata, write):
    adata.obs["leiden"] = pd.Categorical([str(n % 12) for n in range(40)])
    path = write(adata)
    for wanted in (1, "1", [1]):
        assert list(read_cells(path, filter={"leiden": wanted}).obs["leiden"]) == ["1"] * 4
    with pytest.raises(DataError, match="no cell has 12 as leiden"):
        read_cells(path, filter={"leiden": 12})


def test_a_column_that_names_cells_is_no_batch(adata, write):
    adata.obs["sample"] = [f"SRS{n:07d}" for n in range(40)]
    assert read_cells(write(adata)).batch_key == "donor"
    del adata.obs["donor"]
    cells = read_cells(write(adata))
    assert cells.batch_key is None
    assert "sample has 40 values for 40 cells and is not taken for a batch" in cells.findings
    assert read_cells(write(adata), batch_key="sample").batch_key == "sample"  # who names it means it


def test_batches_have_at_least_two_cells_on_average():
    assert find_batch_key(pd.DataFrame({"batch": list("aabb")}), None) == ("batch", [])
    assert find_batch_key(pd.DataFrame({"batch": list("aabc")}), None)[0] is None
