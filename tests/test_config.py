"""Every option of every configuration group composes, with the keys of its siblings."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

import biosae
from biosae.cli.config.schema import register

CONFIG = Path(biosae.__file__).parent / "cli" / "config"
OPTIONS = [f"{path.parent.name}={path.stem}" for path in sorted(CONFIG.glob("*/*.yaml"))]


@pytest.fixture
def composed():
    register()

    def composed(name, *overrides):
        with initialize_config_module("biosae.cli.config", version_base="1.3"):
            return compose(name, overrides=list(overrides))

    return composed


@pytest.mark.parametrize("option", [option for option in OPTIONS if not option.startswith(("plm=", "compare="))])
def test_options_compose(composed, option):
    cfg = composed("train", option, "data.path=x.h5ad")
    assert OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


@pytest.mark.parametrize("option", ["default", "seed"])
def test_options_of_compare_compose(composed, option):
    cfg = composed("compare", f"compare={option}", "compare.hyperparams.k=8")
    assert cfg.compare.hyperparams.k == 8
    assert set(composed("compare", f"compare={option}").compare) == set(composed("compare").compare)


@pytest.mark.parametrize("command", ["train", "features", "analyze", "steer", "report", "run"])
def test_names_that_are_a_contract_can_be_overridden(composed, command):
    cfg = composed(
        command,
        "scfm=geneformer-mini", "data=pbmc", "sae=batchtopk", "buffer=stream", "sae.target_layer=1",
        "sae.dictionary_multiplier=0.5", "sae.hyperparams.k=8", "sae.hyperparams.lr=0.1", "seed=3", "data.name=mine",
        "data.n_cells=10", "data.preprocess.split=0.3", "data.preprocess.subset_hvg=100", "experiment.number=7",
        "experiment.eval_steps=9", "sae_checkpoint.experiment=6", "sae_checkpoint.timestamp=Jan29-10-00",
        "analysis.run_label_scoring=false", "analysis.run_gene_scoring=false",
        "analysis.run_expression_scoring=false", "analysis.run_density_scoring=false",
    )  # fmt: skip
    assert cfg.sae.hyperparams.k == 8
    assert cfg.training.eval_every == 9
    assert cfg.sae_checkpoint.experiment == "6"
    assert composed(command, "experiment.number=7").sae_checkpoint.experiment == "7"
