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
    without_hashes(path)
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **edit}))
    with pytest.raises(ArtefactError) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def without_hashes(path):
    """Leave sae.yaml as earlier versions wrote it."""
    settings = yaml.safe_load(path.read_text())
    kept = {name: value for name, value in settings.items() if name not in ("format", "weights_hash", "settings_hash")}
    path.write_text(yaml.safe_dump(kept))


def test_an_sae_of_an_earlier_version_loads(saved, tmp_path, planted):
    without_hashes(tmp_path / "sae.yaml")
    assert torch.equal(load(tmp_path).encode(planted).dense(), saved.encode(planted).dense())


def test_a_flipped_byte_is_refused(saved, tmp_path):
    path = tmp_path / "sae.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="sae.safetensors does not belong to sae.yaml .*the train stage"):
        load(tmp_path)


def test_changed_settings_are_refused_though_they_fit_the_weights(saved, tmp_path):
    path = tmp_path / "sae.yaml"
    path.write_text(path.read_text().replace("k: 4", "k: 5"))
    with pytest.raises(ArtefactError, match="sae.yaml was changed since it was written"):
        load(tmp_path)


def test_a_newer_format_is_refused_with_what_to_install(saved, tmp_path):
    path = tmp_path / "sae.yaml"
    path.write_text(path.read_text().replace("format: 1", "format: 99"))
    message = r"newer biosae \(format 99, this one reads up to 1\): pip install -U biosae"
    with pytest.raises(ArtefactError, match=message):
        load(tmp_path)


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
    without_hashes(tmp_path / "sae.yaml")
    with pytest.raises(ArtefactError, match="b_dec" if change == "drop" else "extra"):
        load(tmp_path)
