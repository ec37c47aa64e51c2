"""Checkpoint files are data: read as plain tensors or refused."""

import argparse
import json
import pickle

import pytest
import torch
from safetensors.torch import save_file

from biosae.errors import ModelError
from biosae.models.checkpoints import read_checkpoint, read_weights


def test_every_format_gives_the_same_float32_tensors(tmp_path):
    weights = {"a": torch.arange(6.0).reshape(2, 3).half(), "n": torch.tensor([1, 2])}
    save_file(weights, tmp_path / "w.safetensors")
    for name in ("w.bin", "w.pt"):
        torch.save(weights, tmp_path / name)
    for path in sorted(tmp_path.iterdir()):
        read = read_weights(path)
        assert read["a"].dtype == torch.float32 and read["n"].dtype == torch.int64
        assert torch.equal(read["a"], weights["a"].float())


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content, 2))])
def test_a_malicious_file_executes_nothing(tmp_path, save):
    canary = tmp_path / "canary"
    save({"a": _Touch(str(canary))}, tmp_path / "w.bin")
    with pytest.raises(ModelError, match="cannot be read as plain tensors"):
        read_weights(tmp_path / "w.bin")
    assert not canary.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.bin"])
def test_damaged_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ModelError, match="download it again"):
        read_weights(tmp_path / name)


def test_files_of_something_else_are_refused(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "w.pt")
    with pytest.raises(ModelError, match="must map names to tensors"):
        read_weights(tmp_path / "w.pt")


def test_nested_checkpoints_are_split_into_tensors_and_settings(tmp_path):
    record = argparse.Namespace(layers=2, name="x")
    nested = {"cfg": record, "cell": {"config": {"d": 3}, "state_dict": {"w": torch.ones(2).half()}}, "n": 1}
    torch.save(nested, tmp_path / "m.pt")
    weights, settings = read_checkpoint(tmp_path / "m.pt")
    assert list(weights) == ["cell.state_dict.w"] and weights["cell.state_dict.w"].dtype == torch.float32
    assert settings == {"cfg": {"layers": 2, "name": "x"}, "cell": {"config": {"d": 3}, "state_dict": {}}, "n": 1}
    save_file(weights, tmp_path / "m.safetensors")
    (tmp_path / "m.json").write_text(json.dumps(settings))
    again, same_settings = read_checkpoint(tmp_path / "m.safetensors")
    assert same_settings == settings and torch.equal(again["cell.state_dict.w"], torch.ones(2))


WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)}


@pytest.mark.parametrize(
    "content",
    [
        {f"module.{name}": weight for name, weight in WEIGHTS.items()},
        {f"_orig_mod.{name}": weight for name, weight in WEIGHTS.items()},
        {f"module._orig_mod.{name}": weight for name, weight in WEIGHTS.items()},
        {"a._orig_mod.weight": WEIGHTS["a.weight"], "b": WEIGHTS["b"]},
        {"model_state_dict": WEIGHTS, "epoch": 3, "optimizer": {"lr": 0.1}},
        {"state_dict": {f"_orig_mod.{name}": weight for name, weight in WEIGHTS.items()}},
    ],
)
def test_weights_of_a_training_loop_have_the_names_of_the_model(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    read = read_weights(tmp_path / "w.pt")
    assert read.keys() == WEIGHTS.keys() and all(torch.equal(read[name], WEIGHTS[name]) for name in WEIGHTS)


def test_a_name_that_only_some_tensors_share_stays(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert sorted(read_weights(tmp_path / "w.pt")) == ["b", "module.a"]


def test_a_refused_pickle_says_what_it_asks_for_and_gives_no_harmful_advice(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="it asks for torch.nn.modules.linear.Linear, which may run code") as caught:
        read_weights(tmp_path / "w.pt")
    assert "weights_only" not in str(caught.value) and "download" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04}q", b"PK\x03\x04 and no more", bytes(64)])
def test_an_empty_or_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as plain tensors .*download it again") as caught:
        read_weights(tmp_path / "w.pt")
    assert "weights_only" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_without_tensors_is_refused(tmp_path):
    torch.save({}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds no tensors"):
        read_weights(tmp_path / "w.pt")
