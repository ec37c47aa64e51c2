"""Damaged artefacts of a finished run, read in process: right, one clear line or refused by hash, and nothing else."""

import hashlib
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from biosae.activations.store import ActivationStore
from biosae.analysis.results import read_analysis, read_scores
from biosae.atlas.run_folder import optional_csv
from biosae.cli.summary import print_summary
from biosae.errors import BiosaeError
from biosae.features.feature_table import read_feature_table
from biosae.features.token_codes import TokenCodes
from biosae.run_record import read_evaluation, read_run
from biosae.runs.config_file import read_settings
from biosae.saes import files

N_OF_EACH = 16
BY_HASH = ("does not belong to", "was changed")


def digest(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else repr(part).encode())
    return found.hexdigest()


def of_sae(run):
    sae = files.load(run)
    return digest(sae.config(), *(tensor.numpy().tobytes() for tensor in sae.state_dict().values()))


def of_table(run):
    table = read_feature_table(run / "features.h5ad")
    matrices = [table.X, *(table.layers[name] for name in sorted(table.layers))]
    codes = [part.tobytes() for matrix in matrices for part in (matrix.data, matrix.indices, matrix.indptr)]
    names = [list(table.obs_names), list(table.obs["biosae_part"]), list(table.var_names)]
    return digest(*codes, *names, table.obsm["X_model"].tobytes())


def of_codes(run):
    codes = TokenCodes(run / "token_codes")
    return digest(codes.d_sae, codes.n_samples, *(shard.code.tobytes() for shard in codes.shards()))


def of_scores(run):
    return digest(read_scores(run).to_csv())


def of_analysis(run):
    print_summary(run)
    return digest(json.dumps(read_analysis(run), sort_keys=True))


def of_metrics(run):
    read_run(run)
    return optional_csv(run / "metrics.csv", "the train stage", ("step", "split")).to_csv()


def of_record(run):
    print_summary(run)
    return json.dumps([read_run(run), read_evaluation(run)])


def of_activations(run):
    store = ActivationStore(run / "activations")
    return digest(store.d_in, *(shard.values.numpy().tobytes() for shard in store.shards()))


# File -> reader, and whether a hash or checksum covers it: what is read is then what was written.
ARTEFACTS = {
    "sae.safetensors": (of_sae, True),
    "sae.yaml": (of_sae, True),
    "features.h5ad": (of_table, True),
    "token_codes/shard-00000.safetensors": (of_codes, True),
    "token_codes/manifest.json": (of_codes, False),
    "scores.csv": (of_scores, True),
    "analysis.json": (of_analysis, True),
    "activations/shard-00000.safetensors": (of_activations, True),
    "activations/manifest.json": (of_activations, False),
    "run.json": (of_record, False),
    "evaluation.json": (of_record, True),
    "split.csv": (of_record, True),
    "config.yaml": (read_settings, False),
    "metrics.csv": (of_metrics, True),
}


@pytest.fixture(scope="module")
def run(finished_run, tmp_path_factory):
    """A finished run with its activations in the same folder."""
    source, folder = finished_run[0], tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("report"))
    record = json.loads((source / "run.json").read_text())
    store = source.parents[1] / "activations" / Path(record["activations"]["folder"]).name  # others are of other cells
    shutil.copytree(store, folder / "activations")
    return folder


def damaged(content, kind, draw):
    """The bytes of a file after one accident."""
    if kind == "truncated":
        return content[: draw.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(1 if kind == "flipped" else 64):
        at = draw.randrange(len(content))
        changed[at] = changed[at] ^ (1 << draw.randrange(8)) if kind == "flipped" else 0
    return bytes(changed)


def objects_of(value):
    """Every object inside a JSON value."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects_of(inner)


def edited(content, draw):
    """A JSON text with one key dropped, renamed or of another type."""
    value = json.loads(content)
    place = draw.choice([found for found in objects_of(value) if found])
    key = draw.choice(sorted(place))
    kind = draw.choice(["drop", "rename", "null", "text", "list", "object", "negative", "huge"])
    old = place.pop(key)
    if kind == "rename":
        place[f"{key}_"] = old
    elif kind != "drop":
        others = {"null": None, "text": "x", "list": [1], "object": {"a": 1}, "negative": -3, "huge": "1e400"}
        place[key] = others[kind]
    return json.dumps(value).replace('"1e400"', "1e400").encode()


def outcome(read, run, expected, is_covered):
    try:
        found = read(run)
    except BiosaeError as error:
        message = str(error)
        assert message.strip() and "\n" not in message, message
        return "refused by hash" if any(words in message for words in BY_HASH) else "one line"
    if found == expected:
        return "the same"
    assert not is_covered, "read as something else"
    return "another value of the right type"


@pytest.mark.parametrize("name", ARTEFACTS)
def test_damage_is_read_right_or_refused_in_one_line(run, name):
    read, is_covered = ARTEFACTS[name]
    path, draw = run / name, random.Random(f"biosae {name}")
    content, expected, outcomes = path.read_bytes(), read(run), Counter()
    try:
        for number in range(N_OF_EACH):
            kind = ("flipped", "flipped", "truncated", "zeroed")[number % 4]
            as_json = name.endswith(".json") and number % 2
            changed = edited(content, draw) if as_json else damaged(content, kind, draw)
            path.write_bytes(changed)
            outcomes[outcome(read, run, expected, is_covered)] += 1
    finally:
        path.write_bytes(content)
    assert sum(outcomes.values()) == N_OF_EACH
    assert outcomes["one line"] + outcomes["refused by hash"] > 0
