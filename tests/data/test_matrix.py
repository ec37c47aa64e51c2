import numpy as np
import pytest
from scipy import sparse

from biosae.data.matrix import as_counts, holds_counts, matrix_kind
from biosae.errors import DataError


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0, 1, 2], "counts"),
        ([0, 1.0004, 2], r"counts with rounding errors (up to 4.0e-04 from a whole number, rounded)"),
        ([0, 1, 20_000.1], "counts with rounding errors (up to 1.0e-01 from a whole number, rounded)"),  # 5e-6 of it
        ([0, 1.02, 2], "values up to 2.0e-02 from a whole number (largest 2); up to 0.001 they are taken for counts"),
        ([0, 0.0002, 0.0007], "values up to 7.0e-04 from a whole number"),  # shares of a cell, not counts of zero
        ([0, 0.7, 1.5], "log-transformed values (largest 1.5)"),
        ([0, 30.5], "values that are not whole numbers (largest 30.5)"),
        ([0, -1], "negative values"),
        ([0, 0], "no value but zero"),
        ([0, np.nan], "NaN or infinite"),
        (["a", "b"], "values of type <U1"),
    ],
)
def test_matrices_are_described(values, kind):
    assert matrix_kind(np.array([values])).startswith(kind)
    assert holds_counts(matrix_kind(np.array([values]))) == kind.startswith("counts")


def test_counts_are_rounded_and_others_refused_with_their_place():
    counts = as_counts(np.array([[0, 1.0004, 2]]), "here")
    assert sparse.isspmatrix_csr(counts) and counts.dtype == np.float32
    np.testing.assert_array_equal(counts.toarray(), [[0, 1, 2]])
    with pytest.raises(DataError, match="^here holds log-transformed values .*raw counts are needed"):
        as_counts(np.array([[0.7]]), "here")
