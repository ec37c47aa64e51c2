import h5py
import numpy as np
import pytest

from biosae.data.vectors import find_vectors
from biosae.errors import DataError


def write(path, values, model=None, **options):
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file.create_dataset(name, data=value, **options)
        if model:
            file.attrs["model_name"] = model
    return path


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": True}])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_rows_are_those_of_h5py_in_any_order(tmp_path, options, dtype):
    generator = np.random.default_rng(0)
    values = {f"P{n}": generator.normal(size=(1 + n % 3, 5)).astype(dtype) for n in range(9)}
    vectors = find_vectors(write(tmp_path / "a.h5", values, model="prot_t5", **options))
    assert (vectors.d, vectors.is_per_residue, vectors.model) == (5, True, "prot_t5")
    rows = np.array([4, 0, 8, 2])
    expected = np.concatenate([values[vectors.ids[row]] for row in rows]).astype(np.float32)
    np.testing.assert_array_equal(vectors.read(rows), expected)
    np.testing.assert_array_equal(vectors.chosen([4, 0, 8, 2]).read(np.arange(4)), expected)


def test_a_folder_is_one_data_set_and_uniprot_keys_are_accessions(tmp_path):
    write(tmp_path / "b.h5", {"sp|P2|B_HUMAN": np.full(3, 2.0)})
    write(tmp_path / "a.h5", {"P1": np.full((1, 3), 1.0), "P3": np.full(3, 3.0)})
    vectors = find_vectors(tmp_path)
    assert (vectors.ids, vectors.is_per_residue) == (["P1", "P3", "P2"], False)
    np.testing.assert_array_equal(vectors.read(np.array([2, 0]))[:, 0], [2, 1])


def test_ids_repeated_across_files_are_refused(tmp_path):
    write(tmp_path / "a.h5", {"P1": np.ones(3)})
    write(tmp_path / "b.h5", {"P1": np.ones(3)})
    with pytest.raises(DataError, match=r"the protein id P1 occurs more than once \(in a.h5, b.h5; .*first word"):
        find_vectors(tmp_path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"P1": np.ones(3), "P2": np.ones(4)}, "of one width: P1 has 3, P2 has 4"),
        ({"P1": np.ones((2, 3, 4))}, r"P1 has shape \(2, 3, 4\)"),
        ({"P1": np.ones(3, dtype="i4")}, "P1 has shape .* and type int32; expected .* floating-point numbers"),
        ({"P1": np.float32(1)}, r"P1 has shape \(\)"),
    ],
)
def test_ragged_and_strange_values_are_refused(tmp_path, values, says):
    with pytest.raises(DataError, match=says):
        find_vectors(write(tmp_path / "a.h5", values))


@pytest.mark.parametrize(("bad", "says"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (0, "of zeros")])
def test_rows_that_no_loss_can_take_are_refused_by_name(tmp_path, bad, says):
    values = {f"P{n}": np.ones((2, 3)) for n in range(4)}
    values["P2"][1] = bad
    vectors = find_vectors(write(tmp_path / "a.h5", values))
    with pytest.raises(DataError, match=f"P2 holds .*{says}"):
        vectors.read(np.array([3, 2, 0]))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no .h5 or .hdf5 file"):
        find_vectors(tmp_path)
