"""A clone stands alone: nothing in it names or reads a path outside it, and its data stay small."""

import re
from pathlib import Path

import pytest

import biosae

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "bench", "docs", "jobs", "scripts", "src", "tests")
TEXT = {"", ".cfg", ".css", ".csv", ".html", ".js", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}
# Written so that this file names nothing of it.
OUTSIDE = re.compile(r"[.][.]/shared\b|/wor[k]/|[\"']share[d][\"']\s*/|/\s*[\"']share[d][\"']|ROOT[.]parent\b")
FILE = "__file__"
STEPS = re.compile(r"__file__\)(?:\.resolve\(\))?((?:\.parents\[\d+\]|\.parent\b)+)")
MEGABYTE = 10**6


def text_files() -> list[Path]:
    """Every text file of the project: the checkout, without what was made in it."""
    found = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in FOLDERS:
        found += [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in found if path.suffix in TEXT and "__pycache__" not in path.parts]


def names_outside(path: Path, text: str) -> list[str]:
    """The words of a file that lead out of the clone: known folders, and more steps up than the file is deep."""
    depth = len(path.relative_to(ROOT).parts)
    climbs = [
        match[0]
        for match in STEPS.finditer(text)
        if sum(1 + int(n or 0) for n in re.findall(r"\.parent(?:s\[(\d+)\])?", match[1])) > depth
    ]
    return climbs + [match[0] for match in OUTSIDE.finditer(text)]


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def test_no_text_file_names_a_path_outside_the_clone():
    files = text_files()
    assert len(files) > 400  # the search found the project
    assert {
        str(path.relative_to(ROOT)): found
        for path in files
        if (found := names_outside(path, path.read_text(encoding="utf-8")))
    } == {}


@pytest.mark.parametrize(
    "line",
    [
        "proteins=../share" + "d/data/proteins",
        "/wor" + "k/data/cells.h5ad",
        'Path(__file__).parents[1] / "share' + 'd" / "data"',
        f"Path({FILE}).parents[2]",
        f"Path({FILE}).resolve().parents[1].parent",
        f"Path({FILE}).parent.parent.parent",
        "(ROOT" + '.parent / "data")',
    ],
)
def test_such_a_path_is_found(line):
    assert names_outside(ROOT / "tests" / "test_clone.py", line)


def test_links_and_paths_inside_the_clone_are_not():
    inside = f"Path({FILE}).parents[1] ../src/biosae/datasets/README.md network/ shared.parent run_training(shared)"
    assert names_outside(ROOT / "tests" / "test_clone.py", inside) == []


def test_the_fixtures_stay_small():
    assert size(ROOT / "tests" / "fixtures") < 20 * MEGABYTE


def test_the_wheel_stays_small():
    """What a wheel packs, before it compresses it."""
    assert size(Path(biosae.__file__).parent) < 20 * MEGABYTE


@pytest.mark.parametrize("folder", ["src/biosae/datasets/three_finger_toxins", "src/biosae/data/embedded"])
def test_shipped_data_have_a_source_and_a_licence(folder):
    readme = (ROOT / folder / "README.md").read_text()
    assert {path.name for path in (ROOT / folder).iterdir()} - {"README.md"} <= set(re.findall(r"[\w.]+", readme))
    assert re.search(r"licence|licensed", readme, re.IGNORECASE) and re.search("source|counts", readme, re.IGNORECASE)
