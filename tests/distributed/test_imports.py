from __future__ import annotations

import ast
from pathlib import Path

import biosae

FOLDER = Path(biosae.__file__).parent


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_only_this_room_imports_torch_distributed():
    importing = {path for path in FOLDER.rglob("*.py") if "torch.distributed" in imported(path)}
    assert importing and {path.parent.name for path in importing} == {"distributed"}
