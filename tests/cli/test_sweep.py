import json

import pandas as pd
import pytest
import yaml

from biosae.errors import ArtefactError
from biosae.pipeline.sweep_table import sweep_table
from biosae.pl import sweep


def write_run(parent, name, variant, k, fvu):
    folder = parent / name
    folder.mkdir(parents=True)
    config = {"sae": {"variant": variant, "hyperparams": {"k": k, "lr": 0.1}}, "seed": 0, "experiment": {"root": name}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "evaluation.json").write_text(json.dumps({"fvu": fvu, "l0": float(k), "n_tokens": 5}))
    (folder / "run.json").write_text("{}")


@pytest.fixture
def runs(tmp_path):
    for name, variant, k, fvu in (("b", "topk", 16, 0.2), ("a", "topk", 8, 0.3), ("c", "gated", 8, 0.25)):
        write_run(tmp_path / "runs" / "0", name, variant, k, fvu)
    (tmp_path / "runs" / "0" / "unfinished").mkdir()
    return tmp_path / "runs" / "0"


def test_rows_are_finished_runs_and_columns_the_settings_that_differ(runs):
    table = sweep_table(runs)
    assert list(table.index) == ["c", "a", "b"]
    assert list(table) == ["variant", "sae.hyperparams.k", "fvu", "l0"]
    assert list(table["sae.hyperparams.k"]) == [8, 8, 16]


def test_the_command_writes_table_and_figure(runs, biosae):
    code, said = biosae("sweep")
    assert code == 0, said
    assert "0.25" in said
    assert list(pd.read_csv(runs / "sweep.csv", index_col="run")["fvu"]) == [0.25, 0.3, 0.2]
    assert (runs / "sweep.svg").read_text().startswith("<?xml")


def test_lines_are_told_apart_by_the_setting_that_is_text(runs):
    ax = sweep(sweep_table(runs), show=False)
    lines = {line.get_label(): line.get_xydata().tolist() for line in ax.get_lines()}
    assert lines == {"gated": [[8, 0.25]], "topk": [[8, 0.3], [16, 0.2]]}


def test_one_run_is_no_sweep(tmp_path):
    write_run(tmp_path, "a", "topk", 8, 0.3)
    with pytest.raises(ArtefactError, match="has 1 finished runs, a sweep needs two"):
        sweep_table(tmp_path)
