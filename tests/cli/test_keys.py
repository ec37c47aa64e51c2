import pytest
from hydra import compose, initialize_config_module

from biosae.cli.config.schema import register
from biosae.cli.keys import full_key, in_settings
from biosae.errors import SettingError, arguments_of


@pytest.fixture
def config():
    register()
    with initialize_config_module("biosae.cli.config", version_base="1.3"):
        yield lambda *words: compose("run", overrides=list(words))


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("k", "sae.hyperparams.k"),
        ("n_permutations", "analysis.n_permutations"),
        ("model.max_genes", "scfm.max_genes"),
        ("model.seed", "scfm.seed"),
        ("data.batch_key", "data.batch_key"),
        ("data.held_out", "data.preprocess.split"),
        ("data.group_key", "data.split.group_key"),
        ("benchmark.batch_key", "benchmark.batch_key"),
        ("steer.key", "steer.perturbation.key"),
        ("prepare.model.pooling", "scfm.pooling"),
        ("batch_key", "batch_key"),  # several sections have one
        ("nowhere", "nowhere"),
    ],
)
def test_arguments_have_the_name_of_their_setting(config, argument, key):
    assert full_key(argument, config()) == key


def test_the_model_of_proteins_has_the_settings_of_plm(config):
    assert full_key("model.site", config("data=fasta", "data.path=a.fasta")) == "plm.site"


def test_the_innermost_owner_decides(config):
    cfg = config("scfm=scgpt")
    assert full_key("data.model.batch_key", cfg) == "scfm.batch_key"
    assert full_key("model.data.batch_key", cfg) == "data.batch_key"


def test_a_message_names_the_setting_once_and_the_command(config):
    message = "k must be at most d_sae=4, got k=5; run the train stage again"
    expected = "sae.hyperparams.k must be at most d_sae=4, got k=5; run `biosae train` again"
    assert in_settings(message, "k", config()) == expected


def test_without_a_configuration_arguments_stay(config):
    assert in_settings("k must be 1", "k", None) == "k must be 1"


def test_an_argument_of_a_part_belongs_to_its_owner():
    with pytest.raises(SettingError) as caught, arguments_of("train"), arguments_of("sae"):
        raise SettingError("k must be 1", argument="k")
    assert caught.value.argument == "train.sae.k"
    with pytest.raises(SettingError) as caught, arguments_of("sae"):
        raise SettingError("something else")
    assert caught.value.argument is None
