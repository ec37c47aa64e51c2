"""The tutorial of cells, block by block as it is written."""

import re
from pathlib import Path

import matplotlib

matplotlib.use("agg")
PAGE = Path(__file__).parents[1] / "docs" / "tutorial-cells.md"


def test_the_blocks_run_as_written():
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    assert list(names["other"].var_names) == list(names["feats"].var_names)
    assert "original" in names["steered"].obsm and len(names["steered"].obsm) >= 2
    assert names["best"]["cell_type_auroc_select"].between(0.5, 1).all()
