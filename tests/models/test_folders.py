"""Where checkpoints are looked for."""

import importlib

import pytest

from biosae.errors import ModelError
from biosae.models import folders
from biosae.models.folders import model_name, require_files, resolve_folder


def test_a_folder_is_itself(tmp_path):
    assert resolve_folder(tmp_path, "the site") == resolve_folder(str(tmp_path), "the site") == tmp_path.resolve()
    assert model_name(tmp_path, tmp_path) == tmp_path.name


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert resolve_folder("~/model", "the site") == (tmp_path / "model").resolve()


def test_builtin_models_lie_in_the_package(tmp_path, monkeypatch):
    (tmp_path / "tiny_model").mkdir()
    monkeypatch.setattr(folders.resources, "files", lambda package: tmp_path)
    assert resolve_folder("builtin:tiny-model", "the site") == tmp_path.resolve() / "tiny_model"
    assert model_name("builtin:tiny-model", tmp_path / "tiny_model") == "tiny-model"
    with pytest.raises(ModelError, match="builtin:other is not a folder .*published at the site"):
        resolve_folder("builtin:other", "the site")


def test_a_repository_is_downloaded_with_its_companions(tmp_path, monkeypatch):
    hub = importlib.import_module("huggingface_hub")
    calls = []

    def download(repository, allow_patterns, ignore_patterns):
        calls.append((repository, allow_patterns))
        (tmp_path / "V2").mkdir(exist_ok=True)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert resolve_folder("hf://owner/repo/V2", "the site", ("genes/*.pkl",)) == tmp_path.resolve() / "V2"
    assert resolve_folder("hf://owner/repo", "the site") == tmp_path.resolve()
    assert calls == [("owner/repo", ["V2/*", "genes/*.pkl"]), ("owner/repo", ["*"])]


def test_a_failed_download_is_one_line(monkeypatch):
    hub = importlib.import_module("huggingface_hub")

    def download(*_, **__):
        raise OSError("no route to host\nlong traceback")

    monkeypatch.setattr(hub, "snapshot_download", download)
    with pytest.raises(ModelError, match=r"hf://owner/repo cannot be downloaded \(no route to host\); .*model_dir"):
        resolve_folder("hf://owner/repo", "the site")
    with pytest.raises(ModelError, match="<owner>/<repository>"):
        resolve_folder("hf://owner", "the site")


def test_required_files_are_named(tmp_path):
    (tmp_path / "b").touch()
    assert require_files(tmp_path, "the site", ("a", "b")) == [tmp_path / "b"]
    with pytest.raises(ModelError, match="has no a or c, no d; download what is missing from the site, or set model"):
        require_files(tmp_path, "the site", ("a", "c"), ("b",), ("d",))


def test_the_folder_inside_is_named(tmp_path):
    for name in ("other/a", "right/a", "right/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=f"has no a, no b; did you mean model_dir={tmp_path}/right"):
        require_files(tmp_path, "the site", ("a",), ("b",))


def test_a_file_is_not_its_folder(tmp_path):
    (tmp_path / "best_model.pt").touch()
    with pytest.raises(ModelError, match=f"best_model.pt is a file; give the folder that it lies in, {tmp_path}"):
        resolve_folder(tmp_path / "best_model.pt", "the site")
