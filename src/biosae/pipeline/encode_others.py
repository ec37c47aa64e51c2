"""New samples through a trained SAE, into a folder that scores and reports read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.analysis.results import ANALYSIS, read_analysis
from biosae.artefacts import write_json
from biosae.errors import SettingError
from biosae.features.feature_table import read_feature_table
from biosae.features.origin import FEATURES
from biosae.run_record import RUN, read_run
from biosae.runs.config_file import read_settings
from biosae.runs.data_settings import GroupSplit
from biosae.runs.settings import Settings
from biosae.saes import files
from biosae.saes.base import SAE

from .encode import check_same_model, encode_samples, parts_of
from .prepare import PreparedData, prepare
from .provenance import description
from .transfer import TRANSFER, beside, transfer_table, write_table

KEPT = (files.WEIGHTS, files.SETTINGS, "config.yaml", "evaluation.json", "metrics.csv", "split.csv", RUN)
UNKNOWN = {"folder": None, "n_train_tokens": 0, "hash": None}


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
        that the file has: its features, classes and thresholds on cells that the run does not know.

    Returns
    -------
    Path
        The feature table.
    """
    if out.exists() and any(out.iterdir()):
        raise SettingError(f"out={out} is not empty; name a new folder", argument="out")
    settings = read_settings(run)
    data = replace(settings.data, name=Path(path).stem, path=path, description="", label_keys=None, batch_key=None)
    nothing_trained = {"split": GroupSplit(), "preprocess": replace(data.preprocess, split=None)}
    settings = beside(replace(settings, data=replace(data, transfer=None, **nothing_trained)), run)
    prepared = prepare(settings)
    sae = files.load(run, device=prepared.adapter.device)
    sae.run_folder = run
    out.mkdir(parents=True, exist_ok=True)
    encode_others(out, sae, settings, prepared, read_run(run)["model"]["layer"])
    table = read_feature_table(out / FEATURES, ("X",))
    table = table[~table.obs_names.isin(parts_of(run).index)]
    labels = read_analysis(run)["summary"].get("labels", {}) if (run / ANALYSIS).exists() else {}
    if table.n_obs and (keys := [key for key in labels if key in table.obs]):
        batch_key = prepared.samples.batch_key
        write_table(out / TRANSFER, transfer_table(run, table.X.tocsr(), table.obs, batch_key, keys, settings.seed))
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
    obs = prepared.samples.named_obs()
    known = pd.Series(dtype=object) if sae.run_folder is None else parts_of(sae.run_folder)
    part = known.reindex(obs.index).to_numpy(dtype=object)
    new = np.random.default_rng(settings.seed).permutation(np.flatnonzero(pd.isna(part)))
    part[new[::2]], part[new[1::2]] = "test", "select"
    return obs.assign(biosae_part=pd.Categorical(part), biosae_n_tokens=prepared.sequences.lengths)
