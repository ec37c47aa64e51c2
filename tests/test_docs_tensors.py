"""The blocks of docs/tensors.md, as they are written, in one session."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs" / "tensors.md"


def test_the_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "docs_tensors"}
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(block, str(DOCS), "exec"), names)
    assert 0 < names["run"].evaluation.fvu < 1
    assert "torch.Size([2, 4, 64]) torch.Size([2, 4, 16])" in capsys.readouterr().out
    assert (tmp_path / "history.png").exists()
    assert names["attribution"].abs().sum() > 0
    assert len(names["history"]) == 64
