"""The demo block of README.md is what `bench/readme.py` makes."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def maker():
    spec = importlib.util.spec_from_file_location("readme_maker", ROOT / "bench" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_block_is_replaced_and_nothing_else(maker):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = maker.with_block(text, "new\n\\1 lines")
    assert "<!-- demo -->\n```\nnew\n\\1 lines\n```\n<!-- end of demo -->" in found
    assert found.partition("<!-- demo -->")[0] == text.partition("<!-- demo -->")[0]
    assert maker.with_block(found, maker.BLOCK.search(text)[0].split("```\n")[1]) == text


def test_a_readme_without_the_block_is_an_error(maker):
    with pytest.raises(ValueError, match="one block"):
        maker.with_block("no block", "x")


def test_the_block_has_the_lines_that_a_run_prints(maker):
    text = maker.BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    for words in (
        "expressed where it fires",
        "other cells: the same features on",
        "features are explained",
        "report: runs/",
    ):
        assert words in text
