"""The SAE is written for one device: what several processes need is added from outside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import biosae.saes

FOLDER = Path(biosae.saes.__file__).parent
WORDS = r"\b(ranks?|shard(s|ed|ing)?|replicas?|process(es)?|world size|dist|distributed|DTensor)\b"


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(FOLDER)))
def test_no_file_names_processes(path):
    assert re.search(WORDS, path.read_text(encoding="utf-8")) is None
