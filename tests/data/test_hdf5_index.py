import h5py
import numpy as np
import pytest

from biosae.data import hdf5_index
from biosae.data.hdf5_index import datasets
from biosae.errors import DataError

LAYOUTS = {
    "plain": {},
    "with times": {"track_times": True},
    "chunked": {"chunks": True},
    "compressed": {"compression": "gzip"},
    "big-endian": {"dtype": ">f4"},
}


def write(path, values, library="earliest", attribute=False, userblock=0, **options):
    with h5py.File(path, "w", libver=library, userblock_size=userblock) as file:
        for name, value in values.items():
            dataset = file.create_dataset(name, data=value, **options)
            if attribute:
                dataset.attrs["original_id"] = f"id of {name}"
    return path


@pytest.fixture
def values():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 6, 60)
    return {f"P{n:03d}": generator.normal(size=(length, 7)).astype("f4") for n, length in enumerate(lengths)}


@pytest.mark.parametrize("attribute", [False, True])
@pytest.mark.parametrize("library", ["earliest", "latest"])
@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_what_is_found_is_what_h5py_finds(tmp_path, values, options, library, attribute):
    path = write(tmp_path / "a.h5", values, library, attribute, **options)
    found = datasets(path)
    content = path.read_bytes()
    with h5py.File(path) as file:
        assert [dataset.name for dataset in found] == sorted(file)
        for dataset in found:
            true = file[dataset.name]
            assert (dataset.shape, dataset.dtype, dataset.offset) == (true.shape, true.dtype, true.id.get_offset())
            if dataset.offset is not None:
                stored = np.frombuffer(content, dataset.dtype, true.size, dataset.offset)
                np.testing.assert_array_equal(stored.reshape(true.shape), true[()])


@pytest.mark.parametrize("library", ["earliest", "latest"])
def test_few_datasets_are_opened(tmp_path, values, library, monkeypatch):
    path = write(tmp_path / "a.h5", {name: value[0] for name, value in values.items()}, library)
    opened = []
    original = hdf5_index._Index._opened
    monkeypatch.setattr(hdf5_index._Index, "_opened", lambda *args: opened.append(args[1]) or original(*args))
    assert len(datasets(path)) == 60
    assert len(opened) == 1


def test_kinds_may_alternate(tmp_path):
    mixed = {f"P{n}": np.zeros(4 + n % 2, dtype="f2" if n % 3 else "f4") for n in range(24)}
    found = {dataset.name: (dataset.shape, dataset.dtype) for dataset in datasets(write(tmp_path / "a.h5", mixed))}
    assert found == {name: (value.shape, value.dtype) for name, value in mixed.items()}


def test_a_user_block_shifts_nothing(tmp_path, values):
    path = write(tmp_path / "a.h5", values, userblock=512)
    with h5py.File(path) as file:
        assert [dataset.offset for dataset in datasets(path)] == [file[name].id.get_offset() for name in sorted(file)]


def test_files_that_are_no_hdf5_groups_and_empty_files_are_refused(tmp_path, values):
    with pytest.raises(DataError, match="does not exist"):
        datasets(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DataError, match="cannot be read as HDF5"):
        datasets(tmp_path / "text.h5")
    with pytest.raises(DataError, match="holds no dataset"):
        datasets(write(tmp_path / "empty.h5", {}))
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file.create_group("P1")
    with pytest.raises(DataError, match="P1 is a group or a dangling link; expected one dataset for each protein"):
        datasets(tmp_path / "group.h5")
    whole = write(tmp_path / "a.h5", values).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as HDF5: .*truncated"):
        datasets(tmp_path / "cut.h5")
