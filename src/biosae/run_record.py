"""run.json, the record of a run: data, split, model, SAE and activations, with the hashes that tie them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from biosae.artefacts import check_origin, content_hash, damaged, read_json
from biosae.json_objects import COUNT

RUN = "run.json"
EVALUATION = "evaluation.json"
BESIDE = ("sae.yaml", "split.csv", "metrics.csv", EVALUATION)
"""Files whose hashes are in ``hashes``; config.yaml may be edited, where data or a model moved."""
WEIGHTS = "sae.safetensors"
FORMAT = 1
MADE_BY = "the train stage"

EXPECTED = {
    "created": str,
    "biosae": str,
    "data": {
        **dict.fromkeys(("name", "description", "kind", "hash"), str),
        "n_samples": COUNT,
        "label_keys?": [str],
        "batch_key?": (str, None),
    },
    "split": {"n": {str: COUNT}, "group_key?": (str, None), "seed": int},
    "model": {"name": str, "fingerprint": str, "layer": COUNT, "n_layers": COUNT, "pretrained_on?": ([str], None)},
    "sae": {"variant": str, "d_in": COUNT, "d_sae": COUNT, "hash": str},
    "hashes?": {str: str},
    "activations": {"folder": (str, None), "n_train_tokens": COUNT, "hash?": (str, None)},
}
"""Keys that a stage reads; see `json_objects.misfit`."""


def read_run(folder: Path) -> dict[str, Any]:
    """Return run.json of a run whose SAE, and the files beside it, are those of its training if they lie there.

    Raises
    ------
    ArtefactError
        If run.json is missing or damaged, or another file than it names lies there.
    """
    run = read_record(folder)
    for name, recorded in {WEIGHTS: run["sae"]["hash"], **run.get("hashes", {})}.items():
        path = Path(folder) / name
        if path.exists():
            check_origin(path, recorded, RUN, content_hash(path), MADE_BY)
    return run


def read_record(folder: Path) -> dict[str, Any]:
    """Return run.json of a run, alone; raises `ArtefactError` if it is missing or damaged."""
    run = read_json(Path(folder) / RUN, MADE_BY, EXPECTED, FORMAT)
    run["data"] = {"label_keys": [], "batch_key": None} | run["data"]
    return run


def time_of(folder: Path) -> str:
    """Return the time at which a run started, which is all that choosing the latest of many reads."""
    return read_json(Path(folder) / RUN, MADE_BY, {"created": str}, FORMAT)["created"]


def read_evaluation(folder: Path, *needed: str) -> dict[str, float]:
    """Return the held-out numbers in evaluation.json of a run, of which some are needed.

    Raises
    ------
    ArtefactError
        If it is missing or damaged, or a value is no number.
    """
    path = Path(folder) / EVALUATION
    measured = read_json(path, MADE_BY, {str: (float, None, dict)}, FORMAT)
    if lacking := [name for name in needed if not isinstance(measured.get(name), int | float)]:
        raise damaged(path, f"it lacks {', '.join(lacking)}", MADE_BY)
    return {name: value for name, value in measured.items() if name not in ("format", "source")}


def recorded_sae(folder: Path) -> str | None:
    """Return the hash of the SAE that a folder's run trained, which lies there; None for a folder of no run."""
    return read_run(folder)["sae"]["hash"] if (Path(folder) / RUN).exists() else None
