from __future__ import annotations

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from biosae.errors import ArtefactError, SettingError
from biosae.saes.build import build
from biosae.saes.files import load, save


@pytest.fixture
def saved(tmp_path, planted):
    sae = build("topk", 16, 48, {"k": 4}, seed=3)
    sae.fit_normaliser(planted)
    save(sae, tmp_path)
    return sae


def test_loaded_sae_encodes_and_decodes_the_same_bits(saved, tmp_path, planted):
    again = load(tmp_path)
    assert again.config() == saved.config()
    assert torch.equal(again.encode(planted).dense(), saved.encode(planted).dense())
    assert torch.equal(again(planted), saved(planted))
    assert not again.training


def test_a_device_that_is_not_there_is_named(saved, tmp_path):
    with pytest.raises(SettingError, match="device=gpu cannot be used: "):
        load(tmp_path, device="gpu")


def test_nothing_else_lies_in_the_folder(saved, tmp_path):
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sae.safetensors", "sae.yaml"]


@pytest.mark.parametrize("name", ["sae.yaml", "sae.safetensors"])
def test_missing_file_is_named_with_the_command_that_makes_it(saved, tmp_path, name):
    (tmp_path / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name} does not exist; make it with the train stage"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["sae.yaml", "sae.safetensors"])
def test_truncated_file_is_refused(saved, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(ArtefactError):
        load(tmp_path)


@pytest.mark.parametrize(
    "edit",
    [
        {"variant": "os.system"},
        {"variant": ["topk"]},
        {"variant": "batchtopk"},
        {"d_sae": 40},
        {"k": 400},
        {"surprise": 1},
    ],
)
def test_settings_that_do_not_fit_the_weights_are_refused(saved, tmp_path, edit):
    path = tmp_path / "sae.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **edit}))
    with pytest.raises(ArtefactError) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_yaml_cannot_run_code(saved, tmp_path):
    (tmp_path / "sae.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ArtefactError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("change", ["drop", "add"])
def test_missing_and_unexpected_tensors_are_refused(saved, tmp_path, change):
    path = tmp_path / "sae.safetensors"
    tensors = load_file(path)
    if change == "drop":
        del tensors["b_dec"]
    else:
        tensors["extra"] = torch.zeros(1)
    save_file(tensors, path)
    with pytest.raises(ArtefactError, match="b_dec" if change == "drop" else "extra"):
        load(tmp_path)
