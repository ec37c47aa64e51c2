import subprocess
import sys

import pytest

from biosae.cli.launch import processes
from biosae.errors import SettingError


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("sae.hyperparms.k=4", "did you mean hyperparams?"),
        ("sae.hyperparams.kk=4", "did you mean k?"),
        ("sae=topkk", "sae/topkk does not exist; there are"),
        ("data=foo", "data/foo does not exist; there are census, covid, fasta"),
        ("seed=abc", "Value 'abc' of type 'str' could not be converted to Integer"),
        ("training.batch_size=x", "could not be converted to Integer"),
        ("data=h5ad", "data.path is not set; give it as data.path="),
        ("data.path=/my.h5ad", "taken for the PBMCs that come with biosae; write data=h5ad data.path=/my.h5ad"),
        ("data.label_keys=cell_type", "; write data.label_keys=[cell_type]"),
        ("data.label_keys=[nope]", "obs has no column nope; it has cell_type, cell_type_coarse"),
        ("data.batch_key=nope", "data.batch_key: obs has no column nope"),
        ("data.preprocess.split=1.5", "must lie between 0 and 1, got 1.5"),
        ("data.n_cells=0", "between 1 and the 2,638 cells"),
        ("scfm.model_dir=/absent", "/absent is not a folder"),
        ("sae.target_layer=9", "has layers 0 to 3 (or -4 to -1), got 9"),
        ("sae.hyperparams.k=99999", "k must be a whole number between 1 and d_sae="),
        ("sae.dictionary_multiplier=0", "sae.dictionary_multiplier must be a number of at least"),
        ("sae.dictionary_multiplier=nan", "sae.dictionary_multiplier must be a number of at least"),
        ("sae.dictionary_multiplier=1e9", "whose float32 weights need"),
        ("seed=-1", "seed must be between 0 and 2^63 - 1, got -1"),
        ("seed=9223372036854775808", "seed must be between 0 and 2^63 - 1, got 9223372036854775808"),
        ("buffer.buffer_tokens=0", "buffer.buffer_tokens must be at least 1, got 0"),
        ("buffer.tokens_per_batch=-5", "buffer.tokens_per_batch must be at least 1, got -5"),
        ("experiment.checkpoint_seconds=-1", "experiment.checkpoint_seconds must be at least 0, got -1"),
        ("device=cuda:99", "device=cuda:99 cannot be used"),
        ("buffer.kind=disk", "buffer.kind must be store or stream, got disk"),
        ("tracker.mode=offline", "mode"),
    ],
)
def test_bad_settings_end_in_one_line_before_anything_is_written(biosae, tmp_path, override, says):
    code, said = biosae("train", override)
    assert code == 1
    assert says in said
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "h5ad"], "no option --data: settings are written key=value, without dashes"),
        (["data=h5ad", "--data.path=a.h5ad"], "no option --data.path=a.h5ad"),
        (["cells/my.h5ad"], "cells/my.h5ad is no setting: write biosae train data=h5ad data.path=cells/my.h5ad"),
        (["per protein ü.h5"], "write biosae train data=protein_h5 data.path='per protein ü.h5'"),
        (["data", "=", "h5ad"], "data is no setting: leave no space around the = of key=value"),
        (["fast"], "fast is no setting: they are written key=value (`biosae train --help` lists them)"),
        (["data=h5ad", "data.path=~/my.h5ad"], """inside those of the shell: "data.path='~/my.h5ad'\""""),
        (["data=h5ad", "data.path=zellen/müll.h5ad"], """: "data.path='zellen/müll.h5ad'\""""),
        (["data=h5ad", "data.path=it's.h5ad"], r"data.path='it\'s.h5ad'"),
        (["data=h5ad", "data.path=k=3.h5ad"], """: "data.path='k=3.h5ad'\""""),
        (["data.label_keys=[cell_type"], "data.label_keys=[cell_type cannot be read: no viable alternative"),
        (["sae.hyperparams.k=4,8"], "several values: add -m for a sweep, or write a list, sae.hyperparams.k=[4,8]"),
    ],
)
def test_slips_of_the_command_line_are_told_with_what_to_type(biosae, tmp_path, words, says):
    code, said = biosae("train", *words)
    assert code == 1
    assert says in said
    assert not (tmp_path / "runs").exists()


def test_paths_in_the_quotes_that_are_asked_for_are_read(biosae, tmp_path):
    """The same signs that are refused above; so the file is looked for."""
    for name in ("~/my.h5ad", "zellen/müll.h5ad", r"it\'s.h5ad", "k=3.h5ad"):
        code, said = biosae("train", "data=h5ad", f"data.path='{name}'")
        assert (code, "does not exist or is not a file" in said) == (1, True), said


def test_a_reader_that_closes_the_pipe_early_sees_no_traceback():
    command = [sys.executable, "-m", "biosae", "train", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (141, b"")


def test_an_unwritable_root_is_named(biosae, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code, said = biosae("train", f"experiment.root={tmp_path}/file", "data.n_cells=60")
    assert code == 1
    assert "cannot" in said
    assert f"{tmp_path}/file" in said


def test_stages_that_need_a_run_say_how_to_make_one(biosae):
    for command in ("features", "analyze", "report"):
        code, said = biosae(command)
        assert code == 1
        assert "no finished run in runs/0; make one with `biosae train" in said


def test_unknown_commands_and_stages_are_refused(biosae):
    code, said = biosae("trian")
    assert code == 2
    assert "no command trian" in said
    code, said = biosae("run", "stages=[trian]")
    assert code == 1
    assert "stages must be some of train, features, analyze, steer, benchmark, report" in said


def test_help_lists_groups_and_settings(biosae):
    code, said = biosae("train", "--help")
    assert code == 0
    assert "biosae train: Train a sparse autoencoder" in said
    assert "sae.hyperparams.k=16" in said
    data = "data: census, covid, fasta, h5ad, pbmc, protein_h5"
    for group in ("buffer: store, stream", data, "tracker: csv, tensorboard, wandb"):
        assert group in said


def test_other_commands_refuse_the_processes_of_torchrun(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(SettingError, match=r"biosae analyze is for one process: .* \(train, features take it\)"):
        processes("analyze")


def test_a_launcher_under_torchrun_is_refused(biosae, monkeypatch):
    """Its jobs would wait for processes that are not there."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr("biosae.cli.launch._speaks", lambda: True)
    code, said = biosae("train", "-m", "hydra/launcher=submitit_local", "sae.hyperparams.k=4,8")
    assert code == 1
    assert "hydra/launcher=submitit_local starts processes of its own: leave it out, or start the sweep" in said
