"""``uns["biosae"]`` of our AnnData files: the SAE, features and codes that they came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from anndata.io import read_elem

from biosae.artefacts import check_format, check_origin, damaged
from biosae.errors import ArtefactError, reason_of
from biosae.json_objects import COUNT, misfit
from biosae.run_record import recorded_sae

FORMAT = 1
FEATURES, TOKEN_CODES, MANIFEST = "features.h5ad", "token_codes", "manifest.json"
MADE_BY = "the features stage"


def read_origin(path: Path) -> dict[str, Any]:
    """Return ``uns["biosae"]`` of a feature table, compared with the run that it lies in.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged, of a newer biosae, or of another SAE.
    """
    path = Path(path)
    made = read_uns_record(path, {"sae_hash": str, "model": str, "layer": COUNT}, FORMAT, MADE_BY)
    if (sae := recorded_sae(path.parent)) is not None:
        check_origin(path, made["sae_hash"], "the SAE of its run", sae, MADE_BY)
    return made


def read_uns_record(path: Path, expected: Mapping, newest: int, made_by: str) -> dict[str, Any]:
    """Return ``uns["biosae"]`` of an AnnData file as plain values, without reading the rest.

    Parameters
    ----------
    expected, newest, made_by
        As in `artefacts.read_json`.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged, is not one of ours or is of a newer biosae.
    """
    if not Path(path).exists():
        raise ArtefactError(f"{path} does not exist; make it with {made_by}")
    try:
        with h5py.File(path, "r") as file:
            found = read_elem(file["uns/biosae"]) if "uns/biosae" in file else {}
        made = {str(name): _plain(value) for name, value in found.items()}
    except Exception as error:  # HDF5 and its readers raise whatever damaged attributes cause
        raise damaged(path, reason_of(error), made_by) from error
    if "format" not in made:
        raise ArtefactError(f"{path} is not a file of biosae (it has no uns['biosae']); make it with {made_by}")
    check_format(path, made["format"], newest, made_by)
    if wrong := misfit(made, expected):
        raise damaged(path, wrong, made_by)
    return made


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
