"""Scores of the best features on other cells, which the SAE never saw."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd

from biosae.analysis.labels.transfer import transferred_markers
from biosae.analysis.results import read_analysis
from biosae.artefacts import atomic_write
from biosae.datasets import pbmc_cite_path
from biosae.errors import DataError
from biosae.features.control_axes import pool_axes
from biosae.run_record import read_run
from biosae.runs.config_file import CONFIG, read_settings
from biosae.runs.data_settings import CellData
from biosae.runs.settings import Settings
from biosae.saes import files

from .encode import check_same_model
from .prepare import prepare, stored_activations

logger = logging.getLogger(__name__)

TRANSFER = "transfer.csv"
EMBEDDED = {"pbmc_cite": pbmc_cite_path}
"""Name of a data set that comes with the package -> its path."""


def write_transfer(folder: Path, seed: int) -> pd.DataFrame | None:
    """Write transfer.csv where the data settings of the run name other cells, and return it.

    The feature of every class of the first label, as analysis.json names it, is scored for the cells of that class.
    Files without the column of that label, or that cannot be read, are named in the log.
    """
    path = folder / TRANSFER
    path.unlink(missing_ok=True)
    labels = read_analysis(folder)["summary"].get("labels", {})
    if not labels or not (folder / CONFIG).exists():  # features of an SAE that came without its run
        return None
    settings = read_settings(folder)
    if getattr(settings.data, "transfer", None) is None:
        return None
    key, label = next(iter(labels.items()))
    settings = replace(settings, data=_other_cells(settings.data.transfer, key))
    try:
        prepared = prepare(settings)
    except DataError as error:
        logger.warning("the features were not scored on other cells: %s", error)
        return None
    check_same_model(read_run(folder), prepared.adapter)
    store = stored_activations(_beside(settings, folder), prepared, read_run(folder)["model"]["layer"])
    codes = pool_axes(store, {"sae": files.load(folder, device=prepared.adapter.device)})["sae"].codes
    obs = prepared.samples.obs
    batch = None if prepared.samples.batch_key is None else obs[prepared.samples.batch_key]
    markers = pd.DataFrame(label["classes"])[["class", "feature"]]
    table = transferred_markers(codes, obs[key], batch, markers, seed)
    table = table.assign(data=Path(settings.data.path).name, n_samples=len(obs), label=key)
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    logger.info("the features of %d classes were scored on the cells of %s", len(table), settings.data.path)
    return table


def _other_cells(named: str, key: str) -> CellData:
    path = EMBEDDED[named]() if named in EMBEDDED else Path(named).expanduser()
    return CellData(name=Path(path).stem, path=str(path), label_keys=[key])


def _beside(settings: Settings, folder: Path) -> Settings:
    """Settings with activations where those of the run are."""
    stored = read_run(folder)["activations"]["folder"]
    cache = settings.cache if stored is None else str(Path(stored).parent)
    return replace(settings, buffer=replace(settings.buffer, cache=cache))
