"""Run folders of strangers: their configuration is data, and nothing in it is called."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import yaml


class Payload:
    """Unpickling makes a file: the sign that code of the run folder ran."""

    def __init__(self, sign):
        self.sign = sign

    def __reduce__(self):
        return open, (str(self.sign), "w")


@pytest.fixture
def stranger(finished_run, tmp_path):
    """A copy of a finished run, the settings that find it, and its configuration to be changed."""
    original, _ = finished_run
    folder = tmp_path / "runs" / "0" / original.name
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("report"))
    return folder, f"experiment.root={tmp_path}/runs"


def read_pickle(tmp_path) -> dict:
    payload = tmp_path / "payload.pkl"
    payload.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    return {"_target_": "pandas.read_pickle", "filepath_or_buffer": str(payload)}


COMMANDS = (("features",), ("steer",), ("analyze", "analysis.controls=true"))
PLACES = (("scfm", "evil"), ("scfm", "seed"), ("data", "evil"), ("plm", "evil"), ("tracker", "evil"), ("sae", "evil"))


# Every place with one command and every command with one place: all read the file by the same function.
@pytest.mark.parametrize(
    ("command", "place"), [*((COMMANDS[0], place) for place in PLACES), *((other, PLACES[0]) for other in COMMANDS[1:])]
)
def test_a_nested_call_is_refused_and_never_made(stranger, biosae, tmp_path, command, place):
    folder, where = stranger
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[place[0]][place[1]] = read_pickle(tmp_path)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    code, said = biosae(*command, where)
    assert code == 1
    assert "config.yaml cannot be read" in said and "names code to run" in said
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("section", "target"),
    [
        ("scfm", "pandas.read_pickle"),
        ("scfm", "biosae.models.checkpoints.torch.load"),
        ("tracker", "os.system"),
        ("sae", 5),
    ],
)
def test_a_call_in_place_of_a_section_is_refused(stranger, biosae, tmp_path, section, target):
    folder, where = stranger
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config[section] = read_pickle(tmp_path) | {"_target_": target}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    code, said = biosae("features", where)
    assert code == 1 and "names code to run" in said
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "words", [("+scfm.evil={_target_:os.system}",), ("scfm.loader=os.system",), ("+tracker.evil={a:1}",)]
)
def test_the_command_line_makes_no_call_either(biosae, words):
    code, said = biosae("train", *words, "data.n_cells=60", "training.epochs=1")
    assert code == 1 and ("there is no" in said or "must be a text" in said)


def test_a_value_of_the_environment_is_not_looked_up(stranger, biosae, monkeypatch):
    folder, where = stranger
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["scfm"]["model_dir"] = "${oc.env:SECRET}"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("SECRET", "told-to-nobody")
    code, said = biosae("features", where)
    assert code == 1 and "is looked up elsewhere" in said and "told-to-nobody" not in said


def test_names_of_an_earlier_version_are_read(stranger, biosae):
    folder, where = stranger
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["scfm"]["loader"], config["sae"]["variant"], config["tracker"]["kind"]
    config["scfm"]["_target_"] = "biosae.models.geneformer.load_geneformer"
    config["sae"]["_target_"] = "biosae.saes.topk.TopK"
    config["tracker"]["_target_"] = "biosae.training.tracker.NoTracker"
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    settings = yaml.safe_load((folder / "sae.yaml").read_text())
    for key in ("variant", "format", "settings_hash", "weights_hash"):
        del settings[key]
    (folder / "sae.yaml").write_text(yaml.safe_dump({"_target_": "biosae.saes.topk.TopK"} | settings))
    run = json.loads((folder / "run.json").read_text())
    del run["hashes"]
    (folder / "run.json").write_text(json.dumps(run))
    code, said = biosae("features", where)
    assert code == 0, said
