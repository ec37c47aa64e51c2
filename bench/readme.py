"""Make the demo block of README.md and the pictures of the report from a finished run of `make demo`.

python bench/readme.py runs/0/Jan29-10-00

Pictures need a Chromium.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from biosae.cli import summary
from biosae.pipeline.report import report

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 104  # characters of the block
PICTURES = {"overview": ("#/", 1260), "features": ("#/features", 760), "feature": ("#/feature/{feature}", 1700)}
"""Picture -> route and height (pixels); the feature is the one that marks the class `SHOWN`."""
SHOWN = "B"
BLOCK = re.compile(r"(<!-- demo -->\n```\n).*?(```\n<!-- end of demo -->)", re.DOTALL)


def main() -> None:
    folder = Path(sys.argv[1])
    readme = ROOT / "README.md"
    readme.write_text(with_block(readme.read_text(encoding="utf-8"), printed(folder)), encoding="utf-8")
    program = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if program is None:
        sys.exit("the block is written; pictures need a Chromium")
    take_pictures(program, report(folder).resolve(), marker(folder, SHOWN))


def with_block(text: str, content: str) -> str:
    """Return README.md with another content of its demo block."""
    found, n = BLOCK.subn(lambda match: match[1] + content.strip() + "\n" + match[2], text)
    if n != 1:
        raise ValueError("README.md needs one block between <!-- demo --> and <!-- end of demo -->")
    return found


def printed(folder: Path) -> str:
    """Return what the summary of a run prints, with the path of the report as a newcomer sees it."""
    console = summary.results
    console.width = WIDTH
    with console.capture() as captured:
        summary.print_summary(folder)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join(lines).replace(f"{folder.parents[2]}/", "")


def marker(folder: Path, name: str) -> int:
    """Return the feature that marks a class of the first label."""
    label = next(iter(summary.read_analysis(folder)["summary"]["labels"].values()))
    return next(row["feature"] for row in label["classes"] if row["class"] == name)


def take_pictures(program: str, page: Path, feature: int) -> None:
    """Write docs/figures/report-<name>.png of some routes of a report."""
    for name, (route, height) in PICTURES.items():
        target = ROOT / "docs" / "figures" / f"report-{name}.png"
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
        size = [f"--window-size=1280,{height}", f"--screenshot={target}"]
        url = page.as_uri() + route.format(feature=feature)
        subprocess.run([program, *arguments, *size, url], check=True, capture_output=True)
        Image.open(target).convert("RGB").quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main()
