"""The features stage: a trained SAE reads every token; codes stay sparse, and pooled per sample they open in scanpy."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.residues.domains import RESIDUE_ANNOTATIONS
from biosae.artefacts import atomic_write
from biosae.data.split import PARTS
from biosae.distributed.processes import current_group
from biosae.errors import ArtefactError, SettingError
from biosae.features.encode import encode_features
from biosae.features.expression import EXPRESSION, log_normalised, write_expression
from biosae.models.base import ModelAdapter
from biosae.progress import progress_bar
from biosae.run_record import read_run
from biosae.runs.settings import Settings
from biosae.saes import files
from biosae.saes.base import SAE

from .prepare import PreparedData, prepare, stored_activations

logger = logging.getLogger(__name__)


def encode(folder: Path, settings: Settings, prepared: PreparedData | None = None) -> Path:
    """Write features.h5ad and token_codes/ of a run, on the samples it was trained with or on others.

    Parameters
    ----------
    folder
        Run folder with a trained SAE.
    settings
        Data and model to encode: those of the run (`biosae.runs.config_file.read_settings`), or others.
    prepared
        The data, where they are in memory already.

    Returns
    -------
    Path
        The feature table.
    """
    prepared = prepare(settings) if prepared is None else prepared
    run = read_run(folder)
    check_same_model(run, prepared.adapter)
    sae = files.load(folder, device=prepared.adapter.device)
    encode_samples(folder, sae, settings, prepared, samples_table(prepared, parts_of(folder)))
    return folder / "features.h5ad"


def encode_samples(folder: Path, sae: SAE, settings: Settings, prepared: PreparedData, obs: pd.DataFrame) -> None:
    """Write features.h5ad, token codes and what is known of the samples into a folder with run.json.

    Parameters
    ----------
    obs
        Annotations of the samples with ``biosae_part``.
    """
    run, group = read_run(folder), current_group()
    store = stored_activations(settings, prepared, run["model"]["layer"])
    encode_features(
        sae,
        store,
        obs=obs,
        vocabulary=vocabulary_table(prepared),
        out=folder,
        provenance={"sae_hash": run["sae"]["hash"], "model": run["model"]["name"], "layer": run["model"]["layer"]},
        obsm={"X_model": store.sample_means(folder)} | prepared.samples.obsm if group.is_first else {},
        group=group,
    )
    if group.is_first:
        write_spans(folder, prepared)
        write_cells_expression(folder, prepared, store.hash)
        logger.info("features in %s", folder / "features.h5ad")


def write_spans(folder: Path, prepared: PreparedData) -> None:
    """Write residues.csv, the annotated sites and domains of the proteins, where there are some."""
    path = folder / RESIDUE_ANNOTATIONS
    if prepared.spans is None:
        path.unlink(missing_ok=True)
        return
    table = prepared.spans.assign(sample=prepared.samples.names[prepared.spans["sample"]])
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False)


def write_cells_expression(folder: Path, prepared: PreparedData, activations_hash: str) -> None:
    """Write expression.h5ad, what the cells express of all genes of the data, where the samples are cells."""
    path, cells = folder / EXPRESSION, prepared.cells
    if cells is None:
        path.unlink(missing_ok=True)
        return
    var = cells.var
    genes = pd.DataFrame(index=var.index.astype(str))
    genes["identifier"] = np.where(var["ensembl_id"] == "", var["symbol"], var["ensembl_id"])
    genes["symbol"] = np.where(var["symbol"] == "", var.index.astype(str), var["symbol"])
    genes["token"] = prepared.adapter.match_genes(var).token_of_column
    write_expression(path, _expression_blocks(prepared), genes, pd.Index(prepared.samples.names), activations_hash)


def _expression_blocks(prepared: PreparedData) -> Iterator[sparse.csr_matrix]:
    """Log-normalised expression of the genes of all files, some thousand cells at a time."""
    cells = prepared.cells
    columns = cells.var.index
    with progress_bar("writing expression", len(cells.obs), "cells") as advance:
        for block in cells.blocks():
            own = log_normalised(block.X, block.obs["n_counts"].to_numpy(dtype=np.float64))
            place = columns.get_indexer(block.var_names)
            yield sparse.csr_matrix((own.data, place[own.indices], own.indptr), (len(own.indptr) - 1, len(columns)))
            advance(block.n_obs)


def check_same_model(run: dict, adapter: ModelAdapter) -> None:
    """Raise `ArtefactError` unless the model is the one that the SAE of a run was trained on."""
    if run["model"]["fingerprint"] != adapter.fingerprint:
        trained, given = run["model"]["name"], adapter.name
        message = f"this SAE was trained on {trained} ({run['model']['fingerprint']}), not on {given}"
        raise ArtefactError(f"{message} ({adapter.fingerprint}); use the model that it was trained on")


def samples_table(prepared: PreparedData, parts: pd.Series) -> pd.DataFrame:
    """Return the samples' annotations with the part each belongs to and its number of tokens.

    Samples that the run knows by their names keep the parts that they had when its SAE was trained, whatever this split
    assigns, which may have another seed, other labels or other files.

    Parameters
    ----------
    parts
        Part of each sample of the run, by name.

    Raises
    ------
    SettingError
        If that leaves no sample to select on or to report on.
    """
    obs, part = prepared.samples.named_obs(), prepared.split.part.astype(object)
    had = parts.reindex(obs.index).to_numpy()
    moved = ~pd.isna(had) & (had != part)
    if moved.any():
        part[moved] = had[moved]
        message = "%d samples stay in the part of the split that they had when the SAE was trained"
        logger.warning(message, moved.sum())
    lacking = [name for name in ("select", "test") if name not in part]
    if lacking:
        message = f"the SAE was trained on every sample of the part {' and of '.join(lacking)}"
        raise SettingError(f"{message}; leave the seed and the split as they were when it was trained")
    obs["biosae_part"] = pd.Categorical(part)
    obs["biosae_n_tokens"] = prepared.sequences.lengths
    return obs


def parts_of(folder: Path) -> pd.Series:
    """Return the parts of the samples that the run's SAE was trained with, by name; repeated names have the first.

    Raises
    ------
    ArtefactError
        If split.csv is missing or damaged.
    """
    path = folder / "split.csv"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = table.assign(part=pd.Categorical(table["part"], PARTS)).sort_values("part", kind="stable")
        return table.drop_duplicates("sample").set_index("sample")["part"].astype(object)
    except (OSError, KeyError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); run the train stage again") from error


def vocabulary_table(prepared: PreparedData) -> pd.DataFrame:
    """Return token ids with the identifier and the name of what they stand for."""
    adapter = prepared.adapter
    n = len(adapter.vocabulary)
    return pd.DataFrame({"token": range(n), "identifier": adapter.vocabulary, "name": adapter.token_names})
