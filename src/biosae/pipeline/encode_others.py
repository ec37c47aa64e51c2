"""New samples through a trained SAE, into a folder that scores and reports read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.analysis.labels.classes import class_names, memberships
from biosae.analysis.labels.transfer import transferred_markers
from biosae.analysis.results import ANALYSIS, read_analysis
from biosae.artefacts import atomic_write, write_json
from biosae.data.split import PARTS, split_samples
from biosae.errors import SettingError
from biosae.features.feature_table import read_feature_table
from biosae.features.origin import FEATURES
from biosae.run_record import RUN, read_run
from biosae.runs.config_file import read_settings
from biosae.runs.settings import Settings
from biosae.saes import files
from biosae.saes.base import SAE

from .encode import check_same_model, encode_samples, parts_of
from .prepare import PreparedData, prepare
from .provenance import description

KEPT = (files.WEIGHTS, files.SETTINGS, "config.yaml", "evaluation.json", "metrics.csv", "split.csv", RUN)
UNKNOWN = {"folder": None, "n_train_tokens": 0, "hash": None}
TRANSFER = "transfer.csv"


def encode_file(run: Path, path: str, out: Path) -> Path:
    """Encode the cells of another file with the SAE of a run, and score its features on them.

    Parameters
    ----------
    run
        Run folder.
    path
        File, pattern or folder of cells.
    out
        A new or empty folder: features.h5ad and token codes, and transfer.csv where the run was scored against a label
        that the file has.

    Returns
    -------
    Path
        The feature table.
    """
    if out.exists() and any(out.iterdir()):
        raise SettingError(f"out={out} is not empty; name a new folder", argument="out")
    settings = read_settings(run)
    data = replace(settings.data, name=Path(path).stem, path=path, description="", label_keys=None, batch_key=None)
    stored = read_run(run)["activations"]["folder"]
    cache = str(out if stored is None else Path(stored).parent)
    data = replace(data, transfer=None, split=type(data.split)())
    settings = replace(settings, data=data, buffer=replace(settings.buffer, kind="store", cache=cache))
    prepared = prepare(settings)
    sae = files.load(run, device=prepared.adapter.device)
    sae.run_folder = run
    out.mkdir(parents=True, exist_ok=True)
    encode_others(out, sae, settings, prepared, read_run(run)["model"]["layer"])
    if (run / ANALYSIS).exists():
        score_others(run, out)
    return out / FEATURES


def encode_others(folder: Path, sae: SAE, settings: Settings, prepared: PreparedData, layer: int) -> Path:
    """Write features.h5ad and token codes of some samples into a folder, beside the SAE and its run.json.

    Samples that the SAE was trained or evaluated on keep their part; half of the others are ``select`` samples,
    half ``test`` samples.
    """
    adapter = prepared.adapter
    if sae.d_in != adapter.d_model:
        message = f"the SAE reads activations of width {sae.d_in}, {adapter.name} has {adapter.d_model}"
        raise SettingError(message, argument="sae")
    if sae.run_folder is None:
        files.save(sae, folder)
        record = description(settings, prepared, layer, sae, folder, UNKNOWN)
    else:
        check_same_model(read_run(sae.run_folder), adapter)
        for name in KEPT:
            if (sae.run_folder / name).exists():
                shutil.copyfile(sae.run_folder / name, folder / name)
        data = description(settings, prepared, layer, sae, folder, UNKNOWN)["data"]
        record = read_run(folder) | {"data": data}
    write_json(folder / RUN, record)
    encode_samples(folder, sae, settings, prepared, _parted(sae, settings, prepared))
    return folder


def _parted(sae: SAE, settings: Settings, prepared: PreparedData) -> pd.DataFrame:
    """Return the samples with the part that they belong to."""
    obs, part = prepared.samples.named_obs(), prepared.split.part.astype(object)
    if sae.run_folder is not None:
        part = parts_of(sae.run_folder).reindex(obs.index).to_numpy(dtype=object)
        new = np.flatnonzero(pd.isna(part))
        half = split_samples(max(len(new), len(PARTS)), 0.5, settings.seed).part.codes[: len(new)] % 2
        part[new] = np.where(half == 0, "select", "test")
    return obs.assign(biosae_part=pd.Categorical(part), biosae_n_tokens=prepared.sequences.lengths)


def score_others(run: Path, out: Path) -> pd.DataFrame | None:
    """Score the features that mark classes in a run on samples that it never saw; write and return transfer.csv.

    Feature, class and threshold are those of the run. Samples of the run itself are left out.

    Returns
    -------
    One row for each class: the columns of `transferred_markers`, ``label``, ``threshold`` and ``f1``. None where the
    samples have no label of the run.
    """
    analysis, table = read_analysis(run), read_feature_table(out / FEATURES, ("X",))
    table = table[~table.obs_names.isin(parts_of(run).index)]
    rules = pd.read_csv(run / "tables" / "labels.csv", dtype={"class": str}, keep_default_na=False, na_values=[""])
    batch_key = read_run(out)["data"]["batch_key"]
    found = []
    for key, label in analysis["summary"].get("labels", {}).items():
        if key not in table.obs or table.n_obs == 0:
            continue
        markers = pd.DataFrame(label["classes"])[["class", "feature"]]
        group = None if batch_key in (None, key) else table.obs[batch_key]
        scored = transferred_markers(table.X.tocsr(), table.obs[key], group, markers, analysis["settings"]["seed"])
        own = rules.loc[rules["label"] == key, ["feature", "class", "threshold"]]
        found.append(scored.assign(label=key).merge(own, on=["feature", "class"], how="left"))
    if not found:
        return None
    scores = pd.concat(found, ignore_index=True)
    scores["f1"] = [_f1(table, row.label, row) for row in scores.itertuples()]
    with atomic_write(out / TRANSFER) as temporary:
        scores.to_csv(temporary, index=False, float_format="%.6g")
    return scores


def _f1(table, key: str, row: tuple) -> float:
    """F1 of calling the samples at or above the threshold members of the class."""
    text = class_names(table.obs[key])
    known = text != None  # noqa: E711, elementwise
    member = memberships(text[known], [row[1]])[:, 0]
    called = table.X[:, [row.feature]].toarray().ravel()[known] >= row.threshold
    return 2 * float((called & member).sum()) / max(int(called.sum() + member.sum()), 1)
