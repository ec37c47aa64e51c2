import pytest

from biosae.errors import ArtefactError
from biosae.runs.config_file import read_settings, save_settings
from biosae.runs.data_settings import CellData, ProteinSplit, VectorData
from biosae.runs.settings import SaeSettings, Settings


def test_settings_come_back_as_they_were_saved(tmp_path):
    hyperparams = {"target_l0": 3.5, "lr": 1e-05, "penalty": "tanh"}
    settings = Settings(
        data=CellData(path=["a.h5ad", "b.h5ad"], filter={"tissue": ["lung", "NA"]}, label_keys=["no"]),
        sae=SaeSettings("jumprelu", hyperparams=hyperparams),
        seed=3,
    )
    save_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings


def test_a_damaged_configuration_is_one_line(tmp_path):
    (tmp_path / "config.yaml").write_text("data: [")
    with pytest.raises(ArtefactError, match="config.yaml cannot be read .*run the train stage again"):
        read_settings(tmp_path)


def test_keys_that_an_older_version_did_not_write_have_todays_defaults(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "data: {kind: cells, path: my.h5ad, batch_key: donor, preprocess: {split: 0.3}}\n"
        "sae: {_target_: biosae.saes.topk.TopK, target_layer: 2}\ntraining: {epochs: 7}\nseed: 3\n"
    )
    settings = read_settings(tmp_path)
    data, training = settings.data, settings.training
    assert (data.filter, data.obs_columns, data.split.group_key) == ({}, None, None)
    assert (data.path, data.batch_key, data.preprocess.split) == ("my.h5ad", "donor", 0.3)
    assert (settings.sae.variant, settings.sae.target_layer) == ("topk", 2)
    assert (training.epochs, training.keep_best, settings.seed) == (7, False, 3)


def test_proteins_of_an_older_version_get_the_keys_of_proteins(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {kind: vectors, path: my.h5, split: {test: 0.1}}\n")
    settings = read_settings(tmp_path)
    assert settings.data == VectorData(path="my.h5", split=ProteinSplit(test=0.1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("datta: {}", "there is no setting datta; did you mean data?"),
        ("data: {kind: cells, pth: x}", "there is no setting data.pth; did you mean path?"),
        ("data: {kind: images}", "kind must be one of cells, proteins, vectors, got images"),
        ("data: 3", "data. must hold settings by name, got 3"),
        ("training: {epochs: 0}", "epochs must be a whole number of at least 1, got 0"),
        ("[1, 2]", "must hold sections of settings, got list"),
        ("3", "must hold sections of settings, got int"),
    ],
)
def test_what_is_no_setting_is_refused(tmp_path, content, message):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ArtefactError) as caught:
        read_settings(tmp_path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_newer_format_is_refused_with_what_to_install(tmp_path):
    save_settings(tmp_path, Settings())
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("format: 1", "format: 99"))
    with pytest.raises(ArtefactError, match="newer biosae .format 99, this one reads up to 1.: pip install -U biosae"):
        read_settings(tmp_path)
