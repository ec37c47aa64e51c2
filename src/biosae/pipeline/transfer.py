"""Scores of the best features on other cells, which the SAE never saw."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from scipy import sparse

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
    key = next(iter(labels))
    settings = replace(settings, data=_other_cells(settings.data.transfer, key))
    try:
        prepared = prepare(settings)
    except DataError as error:
        logger.warning("the features were not scored on other cells: %s", error)
        return None
    check_same_model(read_run(folder), prepared.adapter)
    store = stored_activations(beside(settings, folder), prepared, read_run(folder)["model"]["layer"])
    codes = pool_axes(store, {"sae": files.load(folder, device=prepared.adapter.device)})["sae"].codes
    table = transfer_table(folder, codes, prepared.samples.obs, prepared.samples.batch_key, [key], seed)
    table = table.assign(data=Path(settings.data.path).name, n_samples=len(prepared.samples.obs))
    write_table(path, table)
    logger.info("the features of %d classes were scored on the cells of %s", len(table), settings.data.path)
    return table


def transfer_table(
    run: Path, codes: sparse.csr_matrix, obs: pd.DataFrame, batch_key: str | None, keys: Sequence[str], seed: int
) -> pd.DataFrame:
    """Score the features that mark the classes of labels in a run on other samples.

    Feature, class and threshold are those of the run.

    Parameters
    ----------
    codes, obs
        ``(n, d_sae)`` pooled codes of the other samples, and their annotations.
    batch_key
        Column of ``obs`` within which classes are shuffled; None shuffles freely.
    keys
        Labels of the run that ``obs`` has.
    """
    labels = read_analysis(run)["summary"]["labels"]
    rules = pd.read_csv(run / "tables" / "labels.csv", dtype={"class": str}, keep_default_na=False, na_values=[""])
    found = []
    for key in keys:
        markers = pd.DataFrame(labels[key]["classes"])[["class", "feature"]]
        own = rules.loc[rules["label"] == key, ["feature", "class", "threshold"]]
        group = None if batch_key in (None, key) else obs[batch_key]
        markers = markers.merge(own, on=["feature", "class"], how="left")
        found.append(transferred_markers(codes, obs[key], group, markers, seed).assign(label=key))
    return pd.concat(found, ignore_index=True)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write transfer.csv."""
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def _other_cells(named: str, key: str) -> CellData:
    path = EMBEDDED[named]() if named in EMBEDDED else Path(named).expanduser()
    return CellData(name=Path(path).stem, path=str(path), label_keys=[key])


def beside(settings: Settings, folder: Path) -> Settings:
    """Return settings that store activations where those of a run are."""
    stored = read_run(folder)["activations"]["folder"]
    cache = settings.cache if stored is None else str(Path(stored).parent)
    return replace(settings, buffer=replace(settings.buffer, kind="store", cache=cache))
