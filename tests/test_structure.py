"""What the import contracts of pyproject.toml cannot say: rules of the source tree, read from its files."""

import ast
import tomllib
from pathlib import Path

import pytest

import biosae

SOURCE = Path(biosae.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def rooms(*names: str) -> list[Path]:
    return [path for path in FILES if path.relative_to(SOURCE).parts[0] in names]


def test_torch_distributed_is_imported_in_one_place():
    users = [path for path in FILES if any(name.startswith("torch.distributed") for name in imported(path))]
    assert {path.relative_to(SOURCE).parts[0] for path in users} <= {"distributed"}


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "__init__.py"], ids=str)
def test_hydra_stays_in_the_command_line(path):
    if path.relative_to(SOURCE).parts[0] != "cli":
        assert not {name.partition(".")[0] for name in imported(path)} & {"hydra", "omegaconf"}


def test_every_room_stands_under_the_hydra_contract():
    """A new room that the contract does not list would escape it."""
    pyproject = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [c for c in pyproject["tool"]["importlinter"]["contracts"] if c["name"].startswith("Hydra")]
    listed = {module.partition(".")[2] for module in contract["source_modules"]}
    there = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES}
    assert there - listed <= {"cli", "__init__", "__main__"}


def test_commands_are_short():
    """A command calls the pipeline in about 40 lines; the launcher and its helpers are not commands."""
    from biosae.__main__ import COMMANDS

    lengths = {name: len((SOURCE / "cli" / f"{name}.py").read_text().splitlines()) for name in COMMANDS}
    assert {name for name, length in lengths.items() if length > 60} <= {"doctor", "sweep"}  # they print tables


def test_no_file_is_longer_than_300_lines():
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_public_classes_have_one_meaning():
    """No two public classes of one name."""
    names = [node.name for tree in TREES.values() for node in tree.body if isinstance(node, ast.ClassDef)]
    public = [name for name in names if not name.startswith("_")]
    assert sorted({name for name in public if public.count(name) > 1}) == []
