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


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {f"P{n}": np.ones((64, 1)) for n in range(3)},
            r"P0 has shape \(64, 1\), as if its vector were stored as a col",
        ),
        (
            {f"P{n}": np.ones((64, 3)) for n in range(3)},
            r"P0 has shape \(64, 3\), as if its vector were stored as a col",
        ),
        ({f"P{n}": np.ones((64, 3 + n)) for n in range(3)}, r"P0 has shape \(64, 3\).*transpose the datasets"),
        ({"P0": np.ones(64), "P1": np.ones((7, 64))}, r"P1 has shape \(7, 64\), but P0 has \(64,\); expected vectors"),
    ],
)
def test_vectors_stored_as_columns_or_mixed_with_matrices_are_refused(tmp_path, values, says):
    with pytest.raises(DataError, match=says):
        find_vectors(write(tmp_path / "a.h5", values))


def test_matrices_of_one_length_are_residues(tmp_path):
    vectors = find_vectors(write(tmp_path / "a.h5", {f"P{n}": np.ones((200, 64)) for n in range(3)}))
    assert vectors.n_rows.tolist() == [200, 200, 200]


def test_original_ids_name_the_proteins(tmp_path, caplog):
    path = write(tmp_path / "a.h5", {str(n): np.full(3, n + 1.0) for n in range(3)})
    with h5py.File(path, "a") as file:
        for n in range(3):
            file[str(n)].attrs["original_id"] = f"sp|P{n}|X_HUMAN"
    with caplog.at_level("INFO"):
        assert find_vectors(path).ids == ["P0", "P1", "P2"]
    assert "ids are those of the attribute original_id, not the keys: sp|P0|X_HUMAN for 0" in caplog.text
    with h5py.File(path, "a") as file:
        del file["1"].attrs["original_id"]
    assert find_vectors(path).ids == ["0", "1", "2"]


def test_strings_overwritten_with_zeros_are_refused_and_not_read_for_ever(tmp_path):
    """The HDF5 library loops at an object of number 0 and size 0; only another process could end that."""
    path = write(tmp_path / "a.h5", {"P1": np.ones(3)}, model="prot_t5")
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 32] = bytes(32)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged: the strings at byte .* are overwritten with zeros; copy"):
        find_vectors(path)


def test_a_damaged_compressed_dataset_is_one_error(tmp_path):
    path = write(tmp_path / "a.h5", {"P1": np.arange(1.0, 999)}, compression="gzip")
    with h5py.File(path) as file:
        offset = file["P1"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(DataError, match="P1 is damaged .* copy the file again"):
        find_vectors(path).read(np.array([0]))
