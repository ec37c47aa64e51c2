import errno
import hashlib
import os
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
from biosae.json_objects import COUNT


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


EXPECTED = {
    "sae": {"hash": str, "d": COUNT},
    "n": float,
    "more?": (str, None),
    "rows": [{"step": int}],
    "of": {str: int},
}
RIGHT = {"sae": {"hash": "ab", "d": 3}, "n": 0.5, "rows": [{"step": 1}], "of": {"x": 1}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sae": {"d": 3}}, "it lacks sae.hash"),
        ({"sae": {"hash": 3, "d": 3}}, "sae.hash must be a text, got 3"),
        ({"sae": {"hash": "ab", "d": -1}}, "sae.d must be a whole number of at least 0, got -1"),
        ({"sae": {"hash": "ab", "d": True}}, "sae.d must be a whole number of at least 0, got true"),
        ({"sae": []}, "sae must be an object, got "),
        ({"n": "0.5"}, 'n must be a number, got "0.5"'),
        ({"more": 3}, "more must be a text, got 3"),
        ({"rows": [{"step": 1.5}]}, "rows.step must be a whole number, got 1.5"),
        ({"of": {"x": None}}, "of.x must be a whole number, got null"),
    ],
)
def test_keys_and_types_of_an_artefact_are_checked_in_one_line(tmp_path, change, message):
    path = tmp_path / "a.json"
    write_json(path, RIGHT)
    assert read_json(path, "the train stage", EXPECTED) == RIGHT
    write_json(path, RIGHT | change)
    with pytest.raises(ArtefactError) as caught:
        read_json(path, "the train stage", EXPECTED)
    assert f"({message}" in str(caught.value) and str(caught.value).endswith("make it again with the train stage")


@pytest.mark.parametrize("text", ["1e400", '{"n": 1e400}', '{"n": -1e999}', "[" * 100_000, "[1]", "", "\x00"])
def test_what_is_no_object_of_numbers_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArtefactError, match="a.json cannot be read .*make it again with the train stage"):
        read_json(tmp_path / "a.json", "the train stage")


def test_formats(tmp_path):
    path = tmp_path / "a.json"
    for older in ({}, {"format": 1}, {"format": 2}):
        write_json(path, older)
        assert read_json(path, "the train stage", newest=2) == older
    write_json(path, {"format": 99})
    message = r"newer biosae \(format 99, this one reads up to 2\): pip install -U biosae$"
    with pytest.raises(ArtefactError, match=message):
        read_json(path, "the train stage", newest=2)
    for wrong in ("1", True, 0, 1.5):
        write_json(path, {"format": wrong})
        with pytest.raises(ArtefactError, match="its format is"):
            read_json(path, "the train stage", newest=2)


def test_a_file_is_hashed_once_unless_it_changes(tmp_path, monkeypatch):
    path, read = tmp_path / "file", []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *arguments: read.append(1) or digest(*arguments))
    path.write_bytes(b"one")
    os.utime(path, (1, 1))
    first = content_hash(path)
    assert content_hash(path) == first == hashlib.sha256(b"one").hexdigest()[:16] and len(read) == 1
    path.write_bytes(b"two")  # of the same size
    assert content_hash(path) == content_hash(path) == hashlib.sha256(b"two").hexdigest()[:16]


def test_a_file_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(ArtefactError, match="gone cannot be read: No such file or directory"):
        content_hash(tmp_path / "gone")
