import json
import re

import pytest

from biosae.errors import ArtefactError
from biosae.runs.folders import new_run_folder, run_folder


def finish(folder, created):
    (folder / "run.json").write_text(json.dumps({"created": created}))
    return folder


def test_folders_are_named_by_the_minute_and_never_shared(tmp_path):
    folders = [new_run_folder(str(tmp_path), "3") for _ in range(3)]
    assert len(set(folders)) == 3
    assert re.fullmatch(r"[A-Z][a-z]{2}\d\d-\d\d-\d\d(-\d)?", folders[0].name)
    assert folders[0].parent == tmp_path / "3"


def test_latest_is_the_last_created_of_the_finished_runs(tmp_path):
    older = finish(new_run_folder(str(tmp_path), "0"), "2026-01-02")
    newer = finish(new_run_folder(str(tmp_path), "0"), "2026-01-03")
    new_run_folder(str(tmp_path), "0")  # not finished
    assert run_folder(str(tmp_path), "0", "latest") == newer
    assert run_folder(str(tmp_path), "0", older.name) == older


def test_a_missing_run_is_named_with_those_that_exist(tmp_path):
    with pytest.raises(ArtefactError, match="no finished run in .*; make one with the train stage"):
        run_folder(str(tmp_path), "7", "latest")
    existing = finish(new_run_folder(str(tmp_path), "0"), "2026-01-02")
    with pytest.raises(ArtefactError, match=f"no finished run Jan01-00-00 in .*; there are {existing.name}"):
        run_folder(str(tmp_path), "0", "Jan01-00-00")


def test_a_missing_run_is_told_where_it_may_be(tmp_path):
    root = str(tmp_path)
    finish(new_run_folder(root, "7"), "2026-01-02")
    with pytest.raises(ArtefactError, match="no finished run in .*/0; there are finished runs with number=7"):
        run_folder(root, "0", "latest")
    cut_off = new_run_folder(root, "8")
    (cut_off / "unfinished.json").write_text("{}")
    with pytest.raises(ArtefactError, match=f"{cut_off.name} is unfinished; .* started again continues it"):
        run_folder(root, "8", "latest")
    variant = new_run_folder(root, "9") / "topk"
    variant.mkdir()
    finish(variant, "2026-01-02")
    named = f"experiment=9/{variant.parent.name} and its name as timestamp, topk"
    with pytest.raises(ArtefactError, match=named):
        run_folder(root, "9", "latest")
    assert run_folder(root, f"9/{variant.parent.name}", "topk") == variant
