"""Samples through a model and a trained SAE, into a folder that scores and reports read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.artefacts import write_json
from biosae.data.split import PARTS, split_samples
from biosae.errors import SettingError
from biosae.pipeline.encode import check_same_model, encode_samples, parts_of
from biosae.pipeline.provenance import description
from biosae.run_record import RUN, read_run
from biosae.saes import files
from biosae.saes.base import SAE

from .activations import Activations

KEPT = (files.WEIGHTS, files.SETTINGS, "config.yaml", "evaluation.json", "metrics.csv", "split.csv", RUN)
UNKNOWN = {"folder": None, "n_train_tokens": 0, "hash": None}


def encode_into(folder: Path, acts: Activations, sae: SAE) -> Path:
    """Write features.h5ad and token codes of some samples into a new folder, beside the SAE and its run.json.

    Samples that the SAE was trained or evaluated on keep their part; half of the others are ``select`` samples,
    half ``test`` samples.
    """
    if sae.d_in != acts.d_in:
        message = f"the SAE reads activations of width {sae.d_in}, {acts.prepared.adapter.name} has {acts.d_in}"
        raise SettingError(message, argument="sae")
    if sae.run_folder is None:
        files.save(sae, folder)
        record = description(acts.settings, acts.prepared, acts.layer, sae, folder, UNKNOWN)
    else:
        check_same_model(read_run(sae.run_folder), acts.prepared.adapter)
        for name in KEPT:
            if (sae.run_folder / name).exists():
                shutil.copyfile(sae.run_folder / name, folder / name)
        record = read_run(folder)
        here = description(acts.settings, acts.prepared, acts.layer, sae, folder, UNKNOWN)
        record |= {"data": here["data"]}
    write_json(folder / RUN, record)
    encode_samples(folder, sae, acts.settings, acts.prepared, _parted(acts, sae))
    return folder


def _parted(acts: Activations, sae: SAE) -> pd.DataFrame:
    """Return the samples with the part that they belong to."""
    obs, part = acts.obs, acts.split.part.astype(object)
    if sae.run_folder is not None:
        part = parts_of(sae.run_folder).reindex(obs.index).to_numpy(dtype=object)
        new = np.flatnonzero(pd.isna(part))
        half = split_samples(max(len(new), len(PARTS)), 0.5, acts.settings.seed).part.codes[: len(new)] % 2
        part[new] = np.where(half == 0, "select", "test")
    return obs.assign(biosae_part=pd.Categorical(part), biosae_n_tokens=acts.prepared.sequences.lengths)
