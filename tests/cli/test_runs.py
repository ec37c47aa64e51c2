import json
import re

import pytest

from biosae.cli.runs import find_run, new_run_folder, read_config
from biosae.errors import ArtefactError


def finish(folder, created):
    (folder / "run.json").write_text(json.dumps({"created": created}))
    return folder


def test_folders_are_named_by_the_minute_and_never_shared(tmp_path):
    folders = [new_run_folder(str(tmp_path), "3") for _ in range(3)]
    assert len(set(folders)) == 3
    assert re.fullmatch(r"[A-Z][a-z]{2}\d\d-\d\d-\d\d(-\d)?", folders[0].name)
    assert folders[0].parent == tmp_path / "3"


def test_latest_is_the_last_created_of_the_finished_runs(tmp_path):
    older = finish(new_run_folder(str(tmp_path), "0"), "2026-01-02")
    newer = finish(new_run_folder(str(tmp_path), "0"), "2026-01-03")
    new_run_folder(str(tmp_path), "0")  # not finished
    assert find_run(str(tmp_path), "0", "latest") == newer
    assert find_run(str(tmp_path), "0", older.name) == older


def test_a_missing_run_is_named_with_those_that_exist(tmp_path):
    with pytest.raises(ArtefactError, match="no finished run in .*; make one with `biosae train experiment.number=7`"):
        find_run(str(tmp_path), "7", "latest")
    existing = finish(new_run_folder(str(tmp_path), "0"), "2026-01-02")
    with pytest.raises(ArtefactError, match=f"no finished run Jan01-00-00 in .*; there are {existing.name}"):
        find_run(str(tmp_path), "0", "Jan01-00-00")


def test_a_missing_run_is_told_where_it_may_be(tmp_path):
    root = str(tmp_path)
    finish(new_run_folder(root, "7"), "2026-01-02")
    with pytest.raises(
        ArtefactError, match="no finished run in .*/0; there are finished runs with experiment.number=7"
    ):
        find_run(root, "0", "latest")
    cut_off = new_run_folder(root, "8")
    (cut_off / "unfinished.json").write_text("{}")
    with pytest.raises(ArtefactError, match=f"{cut_off.name} is unfinished; .* its command typed again"):
        find_run(root, "8", "latest")
    variant = new_run_folder(root, "9") / "topk"
    variant.mkdir()
    finish(variant, "2026-01-02")
    named = f"sae_checkpoint.experiment=9/{variant.parent.name} sae_checkpoint.timestamp=topk"
    with pytest.raises(ArtefactError, match=named):
        find_run(root, "9", "latest")
    assert find_run(root, f"9/{variant.parent.name}", "topk") == variant


def test_a_damaged_configuration_is_one_line(tmp_path):
    (tmp_path / "config.yaml").write_text("data: [")
    with pytest.raises(ArtefactError, match="config.yaml cannot be read .*train again"):
        read_config(tmp_path)


def test_keys_that_an_older_version_did_not_write_have_todays_defaults(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "data: {kind: cells, path: my.h5ad, batch_key: donor, preprocess: {split: 0.3}}\n"
        "sae: {_target_: biosae.saes.topk.TopK, target_layer: 2}\ntraining: {epochs: 7}\nseed: 3\n"
        "analysis: {prerank: false}\n"  # a setting that is gone
    )
    config = read_config(tmp_path)
    assert (config.data.filter, config.data.obs_columns, config.data.split.group_key) == ({}, None, None)
    assert (config.data.path, config.data.batch_key, config.data.preprocess.split) == ("my.h5ad", "donor", 0.3)
    assert config.sae.target_layer == 2 and "hyperparams" not in config.sae
    assert (config.training.epochs, config.training.keep_best, config.seed) == (7, False, 3)
    assert "buffer" not in config


def test_proteins_of_an_older_version_get_the_keys_of_proteins(tmp_path):
    (tmp_path / "config.yaml").write_text("data: {kind: vectors, path: my.h5, split: {test: 0.1}}\n")
    config = read_config(tmp_path)
    assert config.data.sequences is None and config.data.split == {"groups": None, "test": 0.1}
    assert "batch_key" not in config.data
