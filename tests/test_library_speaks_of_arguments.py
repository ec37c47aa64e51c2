"""The library knows arguments and stages; only the command line knows settings and commands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import DictConfig

import biosae
from biosae.cli.config.schema import register

SOURCE = Path(*biosae.__path__)
COMMANDS = "train|run|features|analyze|explain|steer|benchmark|report|compare|stability|sweep|doctor|convert"
DATA = (["data=h5ad", "scfm=scgpt"], ["data=fasta"], ["data=protein_h5"])


def settings_of(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Settings inside a section of the configuration, such as ``data.path``."""
    for name in cfg:
        node = cfg._get_node(name)
        if prefix:
            yield f"{prefix}{name}"
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from settings_of(node, f"{prefix}{name}.")


@pytest.fixture(scope="module")
def foreign() -> re.Pattern:
    """Settings by their full name, and commands."""
    register()
    with initialize_config_module("biosae.cli.config", version_base="1.3"):
        configs = [compose("run", overrides=["data.path=x", *words]) for words in DATA]
    names = sorted({re.escape(name) for cfg in configs for name in settings_of(cfg)})
    settings = rf"({'|'.join(names)}|(scfm|plm)\.[a-z_]+|(data|scfm|plm)=[a-z]\w*|sae_checkpoint)"
    return re.compile(rf"(?<![\w.]){settings}(?!\w)|\bbiosae ({COMMANDS})\b")


def texts_of(code: str) -> Iterator[str]:
    """String literals, docstrings among them, but for owners of arguments (``argument="steer.parts"``)."""
    tree = ast.parse(code)
    owners = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "argument" and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in owners:
            yield node.value


def found_in(path: Path, foreign: re.Pattern) -> list[str]:
    texts = texts_of(path.read_text(encoding="utf-8"))
    return [f"{path.relative_to(SOURCE)}: {match[0]}" for text in texts for match in foreign.finditer(text)]


def library() -> Iterator[Path]:
    paths = sorted(SOURCE.rglob("*.py"))
    return (path for path in paths if path.relative_to(SOURCE).parts[0] not in ("cli", "__main__.py"))


def test_no_text_of_the_library_names_a_setting_or_a_command(foreign):
    assert [text for path in library() for text in found_in(path, foreign)] == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('f"data.path={path} is missing"', True),
        ('"give it as plm.max_residues"', True),
        ('"make it with `biosae train`"', True),
        ('"the run of sae_checkpoint"', True),
        ('"embeddings are data=protein_h5"', True),
        ('f("parts is empty", argument="steer.parts")', False),
        ('"biosae.data.path, my.data.path or data.pathology"', False),
        ('"path is missing; run the train stage"', False),
    ],
)
def test_settings_and_commands_are_found_in_code(foreign, code, found):
    assert any(foreign.search(text) for text in texts_of(code)) == found
