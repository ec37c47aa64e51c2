"""Files of steered embeddings, read and compared with the features and the SAE beside them, without torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata
import h5py
import pandas as pd
from anndata.io import read_elem

from biosae.artefacts import check_origin, content_hash, damaged
from biosae.errors import ArtefactError, reason_of
from biosae.features.origin import FEATURES, read_uns_record
from biosae.json_objects import misfit
from biosae.run_record import recorded_sae

FORMAT = 1
MADE_BY = "the steer stage"


def read_steered(path: Path) -> tuple[anndata.AnnData, pd.DataFrame]:
    """Return the embeddings, and one row per setting.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged or of another format.
    """
    made = read_steered_origin(path)
    with _reading(path):
        steered = anndata.read_h5ad(path)
    return steered, pd.DataFrame(made["settings"])


def read_steered_obs(path: Path) -> pd.DataFrame:
    """Return the annotations of the samples alone, without their embeddings; raises what `read_steered` does."""
    read_steered_origin(path)
    with _reading(path), h5py.File(path, "r") as file:
        return read_elem(file["obs"])


def read_steered_origin(path: Path) -> dict[str, Any]:
    """Return ``uns["biosae"]`` of a file of embeddings, with its settings as a list of dicts.

    It must belong to the SAE and the features.h5ad that lie beside it.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged, of a newer biosae, or of another SAE or other features.
    """
    path = Path(path)
    if not path.exists() and path.with_name("perturbation.h5ad").exists():
        message = f"{path} does not exist; make it with {MADE_BY} without key (of a perturbation)"
        raise ArtefactError(message, argument="steer.key")
    made = read_uns_record(path, {"features_hash": str, "settings": str, "sae_hash?": str}, FORMAT, MADE_BY)
    features = path.with_name(FEATURES)
    if features.exists():
        check_origin(path, made["features_hash"], FEATURES, content_hash(features), MADE_BY)
    if "sae_hash" in made and (sae := recorded_sae(path.parent)) is not None:
        check_origin(path, made["sae_hash"], "the SAE of its run", sae, MADE_BY)
    try:
        made["settings"] = json.loads(made["settings"])
    except ValueError as error:
        raise damaged(path, error, MADE_BY) from error
    if wrong := misfit(made["settings"], [{"key": str, "method": str}], "settings"):
        raise damaged(path, wrong, MADE_BY)
    return made


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # HDF5 and its readers raise whatever damaged attributes cause
        raise damaged(path, reason_of(error), MADE_BY) from error
