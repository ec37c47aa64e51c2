import json
import shutil
from functools import partial
from http.server import ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
import torch
import yaml
from huggingface_hub import HfApi

from biosae.artefacts import content_hash
from biosae.errors import ArtefactError, SettingError
from biosae.saes import files, hub
from biosae.saes.codes import Codes
from biosae.saes.hub import from_pretrained, model_card, push_to_hub, save_pretrained
from biosae.saes.variants.batchtopk import BatchTopK
from biosae.saes.variants.matryoshka import Matryoshka
from biosae.saes.variants.topk import TopK

from .hub_endpoint import COMMIT, HubEndpoint


@pytest.fixture
def run(tmp_path):
    """A run folder as training leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    files.save(TopK(4, 8, k=2), folder)
    described = {
        "format": 1,
        "biosae": "0.1.0",
        "created": "2026-01-02T03:04:05",
        "command": "biosae train data.path=/home/me/secret.h5ad",
        "data": {
            "name": "pbmc",
            "description": "PBMC", "path": "/home/me/secret.h5ad", "n_samples": 2638, "kind": "cells", "hash": "ab12"
        },
        "split": {"n": {"train": 1319, "test": 528}, "group_key": None, "seed": 0},
        "model": {"name": "geneformer-mini", "fingerprint": "cd34", "layer": 2, "n_layers": 4, "d_model": 4},
        "sae": {"variant": "TopK", "d_in": 4, "d_sae": 8, "hash": content_hash(folder / files.WEIGHTS)},
        "activations": {"folder": "/home/me/runs", "n_train_tokens": 123456},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(described))
    (folder / "evaluation.json").write_text(json.dumps({"fvu": 0.12345, "l0": 2.0, "n_tokens": 999}))
    return folder


class Hub:
    """The Hub's interface, writing into a folder."""

    def __init__(self, folder, error=None):
        self.folder, self.error, self.calls = folder, error, []

    def create_repo(self, repo_id, **settings):
        self.calls.append((repo_id, settings))
        if self.error:
            raise self.error

    def upload_folder(self, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.folder / repo_id)
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")


def same(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_what_is_pushed_is_what_is_loaded(run, tmp_path, monkeypatch):
    api = Hub(tmp_path / "hub")
    assert push_to_hub(run, "me/sae", "cc-by-4.0", api=api) == "https://hub/me/sae/commit/1"
    assert api.calls == [("me/sae", {"private": True, "exist_ok": True})]

    def download(repo_id, revision, allow_patterns):
        assert (revision, allow_patterns) == ("v1", ["sae.safetensors", "sae.yaml"])
        return str(tmp_path / "hub" / repo_id)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert same(files.load(run), from_pretrained("me/sae", revision="v1"))
    assert same(files.load(run), from_pretrained(tmp_path / "hub" / "me/sae"))


@pytest.fixture
def endpoint():
    """The address of a Hub on this machine, its files and what it was asked."""
    kept = type("Kept", (HubEndpoint,), {"files": {}, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kept) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()


def test_the_hubs_own_client_takes_an_sae_there_and_back(run, endpoint, tmp_path, monkeypatch):
    address, kept = endpoint
    url = push_to_hub(run, "me/sae", "cc-by-4.0", api=HfApi(endpoint=address, token="hf_none"))
    assert url == f"{address}/me/sae/commit/{COMMIT}"
    wanted = kept.asked[0][1]
    assert (wanted["organization"], wanted["name"]) == ("me", "sae")
    assert wanted.get("private") is True or wanted["visibility"] == "private"  # by the client's version
    assert sorted(kept.files) == ["README.md", "evaluation.json", "sae.safetensors", "sae.yaml"]
    fetch = partial(hub.snapshot_download, endpoint=address, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(hub, "snapshot_download", fetch)
    assert same(files.load(run), from_pretrained("me/sae"))
    fetched = {path.name for path in (tmp_path / "cache").rglob("snapshots/*/*")}
    assert fetched == {"sae.safetensors", "sae.yaml"}


def test_nothing_private_leaves_the_machine(run, tmp_path):
    folder = save_pretrained(run, tmp_path / "out", "mit")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "evaluation.json", "sae.safetensors", "sae.yaml"
    ]  # fmt: skip
    assert not any(b"/home/me" in path.read_bytes() for path in folder.iterdir())


def test_the_card_says_numbers_data_licence_and_split(run):
    card = model_card(run, "cc-by-4.0")
    header = yaml.safe_load(card.split("---")[1])
    assert (header["license"], header["library_name"]) == ("cc-by-4.0", "biosae")
    for words in ("TopK SAE of geneformer-mini, layer 2", "(FVU) | 0.1235 |", "On 999 tokens", "PBMC: 2,638 cells"):
        assert words in card
    for words in ("1,319 train, 528 test", "seed 0, drawn one by one", "`ab12`", "123,456 activations"):
        assert words in card


def test_an_unfinished_run_and_a_missing_licence_are_refused(run, tmp_path):
    with pytest.raises(SettingError, match="a licence is needed"):
        push_to_hub(run, "me/sae", "", api=Hub(tmp_path))
    (run / "run.json").unlink()
    with pytest.raises(ArtefactError, match="run.json does not exist; make it with the train stage"):
        push_to_hub(run, "me/sae", "mit", api=Hub(tmp_path))
    assert not list(tmp_path.glob("me/*"))


def test_what_the_hub_refuses_is_one_line(run, tmp_path, monkeypatch):
    with pytest.raises(ArtefactError, match="me/sae could not be written: no network"):
        push_to_hub(run, "me/sae", "mit", api=Hub(tmp_path, ConnectionError("no network\nmore")))

    def fail(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(ArtefactError, match="me/sae is neither a folder nor a repository that can be fetched"):
        from_pretrained("me/sae")


@pytest.mark.parametrize("sae", [BatchTopK(4, 8, k=2), Matryoshka(4, 8, k=2, group_fractions=[0.5, 0.5])])
def test_a_threshold_that_was_never_estimated_is_not_exported(sae, run, tmp_path):
    """Without its threshold the SAE would fire like a ReLU; a checkpoint may still be written."""
    files.save(sae, run)
    assert same(files.load(run), sae)
    line = f"the {type(sae).__name__} in .* has no inference threshold yet and would fire like a ReLU; train it"
    for export in (
        partial(save_pretrained, run, tmp_path / "out"),
        partial(push_to_hub, run, "me/sae", api=Hub(tmp_path)),
    ):
        with pytest.raises(ArtefactError, match=line):
            export(licence="mit")
    assert not (tmp_path / "out").exists()
    sae.threshold.update(Codes(torch.tensor([[2.0, 3.0]])), window_steps=10)
    files.save(sae, run)
    described = json.loads((run / "run.json").read_text())
    described["sae"]["hash"] = content_hash(run / files.WEIGHTS)
    (run / "run.json").write_text(json.dumps(described))
    assert same(from_pretrained(save_pretrained(run, tmp_path / "out", "mit")), sae)


def test_one_flipped_byte_of_shared_weights_is_refused(run, tmp_path):
    shared = save_pretrained(run, tmp_path / "out", "mit")
    content = bytearray((shared / "sae.safetensors").read_bytes())
    content[-5] ^= 1
    (shared / "sae.safetensors").write_bytes(content)
    with pytest.raises(ArtefactError, match="sae.safetensors does not belong to sae.yaml .*download it again"):
        from_pretrained(shared)


def test_the_sae_of_another_run_is_not_shared_under_this_ones_numbers(run, tmp_path):
    files.save(TopK(4, 8, k=2, seed=1), run)
    with pytest.raises(ArtefactError, match="sae.safetensors does not belong to run.json"):
        save_pretrained(run, tmp_path / "out", "mit")
    with pytest.raises(ArtefactError, match="sae.safetensors does not belong to run.json"):
        from_pretrained(run)


class Silent(Exception):
    """As httpx raises: neither an OSError nor with a text."""


def test_a_hub_that_refuses_without_a_word_is_one_line(run, tmp_path, monkeypatch):
    with pytest.raises(ArtefactError, match="me/sae could not be written: Silent"):
        push_to_hub(run, "me/sae", "mit", api=Hub(tmp_path, Silent()))

    def fail(*_, **__):
        raise Silent("peer closed connection without sending complete message body\nmore")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(ArtefactError, match="can be fetched: peer closed connection .* message body$"):
        from_pretrained("me/sae")
