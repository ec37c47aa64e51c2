"""Cells in memory to activations of a model, and to features of an SAE."""

from __future__ import annotations

from pathlib import Path

import anndata
import pandas as pd

from biosae.data.obs import check_column
from biosae.errors import DataError, SettingError
from biosae.models.base import ModelAdapter
from biosae.pipeline.encode_others import encode_others
from biosae.pipeline.prepare import prepare_cells
from biosae.run_record import read_run
from biosae.runs.data_settings import CellData, GroupSplit, Preprocess
from biosae.runs.settings import BufferSettings, ExperimentSettings, Settings
from biosae.saes.base import SAE

from .activations import Activations
from .feature_scores import read_features
from .scratch import scratch_folder


def activations(
    adata: anndata.AnnData,
    model: ModelAdapter,
    layer: int = -2,
    *,
    label_keys: list[str] | None = None,
    batch_key: str | None = None,
    group_key: str | None = None,
    held_out: float | None = 0.4,
    stream: bool = False,
    folder: Path | str | None = None,
    seed: int = 0,
) -> Activations:
    """Return the activations of cells at a layer, with a split of the cells.

    They are computed when training first needs them, and stored, or computed anew in each epoch (``stream``).

    Parameters
    ----------
    adata
        Cells with raw counts in ``layers["counts"]``, ``X`` or ``raw``.
    model
        From `biosae.load_model`.
    layer
        Layer whose output is read, counted from 0; negative ones from the end.
    label_keys, batch_key
        Columns of ``obs``: labels to score features against, and the donor or batch; None: those with usual names.
    group_key
        Column of ``obs`` whose values are kept whole in the split.
    held_out
        Share of the cells that training never sees; None: nothing is trained on them.
    stream
        Compute activations in each epoch instead of storing them.
    folder
        Folder that keeps runs and activations; None: a temporary one.
    seed
        Of the split.

    Raises
    ------
    DataError
        If there are no raw counts, or no gene that the model knows.
    SettingError
        If a column or the layer does not exist.

    Examples
    --------
    >>> import biosae as bs
    >>> adata = bs.datasets.pbmc3k()[:200].copy()
    >>> acts = bs.tl.activations(adata, bs.load_model("geneformer-mini"), layer=2)
    >>> acts.d_in
    128
    """
    if not isinstance(adata, anndata.AnnData):
        raise DataError(f"adata must be an AnnData, got {type(adata).__name__}", argument="adata")
    layer = model.layer_index(layer)
    if group_key is not None:
        check_column(adata.obs, group_key, "group_key")
    place = scratch_folder() if folder is None else Path(folder)
    settings = Settings(
        data=CellData(
            name="adata",
            path=str(_written(adata, scratch_folder())),
            description=f"{adata.n_obs:,} cells in memory",
            label_keys=label_keys,
            batch_key=batch_key,
            split=GroupSplit(group_key),
            preprocess=Preprocess(split=held_out),
        ),
        scfm=dict(model.settings),
        buffer=BufferSettings(kind="stream" if stream else "store", cache=f"{place}/activations"),
        experiment=ExperimentSettings(root=str(place)),
        seed=seed,
    )
    return Activations(prepare_cells(settings, model), settings, layer)


def encode(
    adata: anndata.AnnData, model: ModelAdapter, sae: SAE, *, layer: int | None = None, seed: int = 0
) -> anndata.AnnData:
    """Return cells x features.

    Parameters
    ----------
    adata
        Cells with raw counts; they may be others than those that the SAE was trained on.
    model
        The model that the SAE was trained on.
    sae
        Of `biosae.train`, `biosae.load_run` or `biosae.load`.
    layer
        Layer that the SAE reads; needed where the SAE does not come from a run.
    seed
        Of the split of cells that the SAE's run does not know: half are ``select`` cells, half ``test`` cells.

    Returns
    -------
    AnnData
        Features ``f0``, ``f1``, ...: the largest code of each cell's tokens in ``X``, ``mean``, ``sum`` and
        ``fraction_active`` in layers, ``obsm["X_model"]`` the mean activations, and the annotations of ``adata``.
        ``uns["biosae"]["folder"]`` is a temporary folder with the code of every token.

    Raises
    ------
    ArtefactError
        If the SAE was trained on another model.

    Examples
    --------
    >>> import biosae as bs
    >>> adata, model = bs.datasets.pbmc3k()[:200].copy(), bs.load_model("geneformer-mini")
    >>> sae = bs.train(bs.tl.activations(adata, model, layer=2), "topk", k=8, expansion=2).sae
    >>> bs.tl.encode(adata, model, sae).n_vars
    256
    """
    acts = activations(adata, model, layer_of(sae, layer), held_out=None, seed=seed)
    return read_features(encode_others(scratch_folder(), sae, acts.settings, acts.prepared, acts.layer))


def layer_of(sae: SAE, layer: int | None) -> int:
    """Return the layer that an SAE reads."""
    if layer is not None:
        return layer
    if sae.run_folder is None:
        raise SettingError("layer is needed: this SAE does not come from a run, which would say it", argument="layer")
    return read_run(sae.run_folder)["model"]["layer"]


def _written(adata: anndata.AnnData, folder: Path) -> Path:
    """Write the parts of an AnnData that are read, so that they are read as those of any file are."""
    obsm = {"X_umap": adata.obsm["X_umap"]} if "X_umap" in adata.obsm else {}
    obs, var = (table.apply(_storable) for table in (adata.obs, adata.var))
    copied = anndata.AnnData(X=adata.X, obs=obs, var=var, layers=dict(adata.layers), obsm=obsm)
    if adata.raw is not None:
        copied.raw = adata.raw.to_adata()
    path = folder / "adata.h5ad"
    copied.write_h5ad(path)
    return path


def _storable(column: pd.Series) -> pd.Series:
    """Return a column as it is, or as text where it mixes kinds that a file cannot hold together."""
    mixes = column.dtype == object and not column.dropna().map(lambda value: isinstance(value, str)).all()
    return column.map(str, na_action="ignore") if mixes else column
