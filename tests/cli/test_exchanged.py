"""A file of another run in a run folder: every stage that opens it refuses it and names the stage that mends it."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from biosae.analysis.stability import analyze_stability
from biosae.artefacts import content_hash
from biosae.errors import ArtefactError
from biosae.pipeline.report import report
from biosae.pipeline.score import score
from biosae.saes import files


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run that a test may change, at its place below ``runs``."""
    ignored = shutil.ignore_patterns("report", "layout.safetensors")
    return shutil.copytree(finished_run[0], tmp_path / "runs" / "0" / finished_run[0].name, ignore=ignored)


def exchange_sae(run):
    """Another SAE of the same size, as training writes it."""
    sae = files.load(run)
    with torch.no_grad():
        sae.W_dec.copy_(sae.W_dec.flip(0))
    files.save(sae, run)


def exchange_run(run):
    """The other SAE with its own run.json: the features are then those of the SAE before."""
    exchange_sae(run)
    described = json.loads((run / "run.json").read_text())
    described["sae"]["hash"] = content_hash(run / "sae.safetensors")
    del described["hashes"]
    (run / "run.json").write_text(json.dumps(described))


def exchange_codes(run):
    path = run / "token_codes" / "shard-00000.safetensors"
    tensors = load_file(path)
    tensors["code"] *= 2
    save_file(tensors, path)


STAGES = {
    "analyze": score,
    "report": report,
    "stability": lambda run: analyze_stability(run, [run], seed=0),
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (exchange_sae, "sae.safetensors does not belong to run.json .*the train stage"),
        (exchange_run, "features.h5ad does not belong to the SAE of its run .*the features stage"),
    ],
)
def test_another_sae_is_refused(run, exchange, message, stage):
    exchange(run)
    with pytest.raises(ArtefactError, match=message):
        STAGES[stage](run)


@pytest.mark.parametrize("command", ["features", "analyze", "steer", "benchmark", "report"])
def test_every_command_refuses_another_sae(run, biosae, command):
    exchange_sae(run)
    code, said = biosae(command, f"experiment.root={run.parents[1]}")
    assert code == 1
    assert "sae.safetensors does not belong to" in said or "steered.h5ad does not exist" in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("stage", ["analyze", "report"])
def test_other_token_codes_are_refused(run, stage):
    exchange_codes(run)
    with pytest.raises(ArtefactError, match="shard-00000.safetensors was changed or damaged; .*the features stage"):
        STAGES[stage](run)


@pytest.mark.parametrize("stage", ["report", "stability"])
def test_scores_of_other_features_are_refused(run, stage):
    scores = (run / "scores.csv").read_text()
    (run / "scores.csv").write_text(scores.replace("0.5", "0.6"))
    with pytest.raises(ArtefactError, match="analysis.json does not belong to scores.csv .*the analyze stage"):
        STAGES[stage](run)


def test_a_newer_run_is_refused_with_what_to_install(run, biosae):
    described = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(described | {"format": 99}))
    code, said = biosae("report", f"experiment.root={run.parents[1]}")
    assert code == 1
    assert "newer biosae (format 99, this one reads up to 1): pip install -U biosae" in said
