"""Every model in the configuration: its keys are the arguments of its loader, with the same defaults."""

import inspect
from pathlib import Path

import pytest
import yaml

import biosae.cli.config
from biosae.models.loaders import LOADERS

FILES = sorted(path for group in ("scfm", "plm") for path in Path(*biosae.cli.config.__path__, group).glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_keys_are_the_arguments_of_the_loader(path):
    check_keys(path)


def test_keys_of_a_model_outside_the_package_are_the_arguments_of_its_loader(panel, panel_folder):
    check_keys(panel_folder / "scfm" / "panel.yaml")


def check_keys(path):
    content = yaml.safe_load(path.read_text())
    parameters = inspect.signature(LOADERS.get(content.pop("loader"))).parameters
    assert content.pop("precision") == "fp32"  # of every model alike
    assert set(content) == set(parameters) - {"device"}
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    content["random_init"] = str(content["random_init"]).lower()
    differing = {key for key in content if key != "model_dir" and content[key] != defaults[key]}
    assert differing <= {"max_residues"}  # a limit is a choice of the command line, not of the function
