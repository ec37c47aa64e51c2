import errno
import hashlib
import subprocess
import sys

import h5py
import pytest

from biosae.artefacts import (
    atomic_folder,
    atomic_write,
    content_hash,
    read_json,
    remove_temporary,
    settings_hash,
    unnamed_file,
    write_json,
)
from biosae.errors import ArtefactError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_write_replaces_the_file_with_ordinary_permissions(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_folder_is_replaced_whole_or_kept(tmp_path):
    folder = tmp_path / "report"
    for name in ("first", "second"):
        with atomic_folder(folder) as temporary:
            (temporary / name).touch()
    assert [path.name for path in folder.iterdir()] == ["second"]
    with pytest.raises(RuntimeError), atomic_folder(folder):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match="cannot write .*file/table.csv"), atomic_write(tmp_path / "file/table.csv"):
        pass


def test_an_unnamed_file_leaves_nothing_and_says_what_it_cannot_write(tmp_path):
    with unnamed_file(tmp_path / "new") as file:
        file.write(b"content")
        assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ArtefactError, match="cannot write in .*file"), unnamed_file(tmp_path / "file"):
        pass
    with pytest.raises(ArtefactError, match="cannot write in .*: No space left on device"), unnamed_file(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_json_that_is_missing_or_damaged_names_the_stage_that_makes_it(tmp_path):
    write_json(tmp_path / "a.json", {"n": 1})
    assert read_json(tmp_path / "a.json", "the train stage") == {"n": 1}
    with pytest.raises(ArtefactError, match="does not exist; make it with the train stage"):
        read_json(tmp_path / "b.json", "the train stage")
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ArtefactError, match="make it again with the train stage"):
        read_json(tmp_path / "c.json", "the train stage")


def test_hashes_are_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()[:16]
    assert settings_hash({"a": 1, "b": 2}) == settings_hash({"b": 2, "a": 1}) != settings_hash({"a": 1, "b": 3})


def test_what_a_living_process_writes_is_not_removed(tmp_path):
    with atomic_folder(tmp_path / "report") as folder, atomic_write(tmp_path / "a.json") as file:
        (folder / ".x.y").touch()
        remove_temporary(tmp_path)
        assert (folder / ".x.y").exists()
        file.write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "report"]


def test_what_a_killed_process_wrote_is_removed(tmp_path):
    dies = f"""
import os
from pathlib import Path
from biosae.artefacts import atomic_folder
with atomic_folder(Path({str(tmp_path)!r}, "report")):
    os._exit(1)
"""
    subprocess.run([sys.executable, "-c", dies])
    assert len(list(tmp_path.iterdir())) == 1
    remove_temporary(tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_but_what_killed_writers_left_is_removed(tmp_path):
    left = [tmp_path / ".run.json.k2x8_a9q" / "run.json", tmp_path / "tables" / ".genes.csv.q7_2ab" / "genes.csv"]
    kept = [tmp_path / "run.json", tmp_path / ".lock", tmp_path / "tables" / "genes.csv"]
    for path in (*left, *kept):
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    remove_temporary(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["tables"]


def test_libraries_that_lock_what_they_write_can_do_so(tmp_path):
    with atomic_write(tmp_path / "a.h5") as temporary, h5py.File(temporary, "w", locking=True) as file:
        file["x"] = 1
    assert (tmp_path / "a.h5").exists()
