import pytest

from biosae.data.files import data_hash, data_paths
from biosae.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A folder with two files of cells and another file."""
    for name in ("b.h5ad", "a.h5ad", "notes.txt"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_a_folder_a_pattern_and_a_list_name_the_same_files(folder):
    files = [folder / "a.h5ad", folder / "b.h5ad"]
    assert data_paths(str(folder)) == data_paths(f"{folder}/*.h5ad") == data_paths(list(map(str, files))) == files


@pytest.mark.parametrize("name", ["x[0].h5ad", "x[0].zarr", "what?.h5ad"])
def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path, name):
    path = tmp_path / name
    path.mkdir() if name.endswith("zarr") else path.write_text("cells")
    assert data_paths(str(path)) == [path]


def test_far_data_is_known_by_its_name():
    assert data_hash(["s3://bucket/a"]) == data_hash(["s3://bucket/a"]) != data_hash(["s3://bucket/b"])
    assert data_paths("s3://bucket/a") == ["s3://bucket/a"]


def test_the_hash_of_files_changes_with_the_content_of_any(folder):
    files = data_paths(str(folder))
    before = data_hash(files), data_hash(files[:1]), data_hash(files[1:])
    files[1].write_text("changed")
    assert data_hash(files) != before[0] and data_hash(files[:1]) == before[1] and data_hash(files[1:]) != before[2]


@pytest.mark.parametrize(("name", "says"), [("*.zarr", "is a pattern that no file fits"), ("", "is a folder without")])
def test_a_name_without_files_is_an_error_of_the_argument(tmp_path, name, says):
    with pytest.raises(DataError, match=f"^path {tmp_path}.*{says}") as raised:
        data_paths(f"{tmp_path}/{name}" if name else str(tmp_path))
    assert raised.value.argument == "path"
