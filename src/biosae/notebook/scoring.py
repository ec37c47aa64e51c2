"""Scores of the features of an AnnData, written into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata

from biosae.errors import DataError, SettingError
from biosae.pipeline.score import score as score_stage
from biosae.run_record import read_run
from biosae.runs.settings import AnalysisSettings

from .feature_scores import with_scores

ALL = ("run_label_scoring", "run_gene_scoring", "run_expression_scoring", "run_density_scoring", "run_explanations")


def score(feats: anndata.AnnData, label_keys: list[str] | str | None = None, **settings: Any) -> None:
    """Score every feature against labels, genes, gene sets and expression, with nulls and held-out samples.

    Adds flat columns to ``var``, a table per analysis to ``varm``, and the layer ``on``: codes above the threshold of
    the feature's class.

    Parameters
    ----------
    feats
        From `biosae.tl.encode` or `Run.features`.
    label_keys
        Columns of ``obs``; None: those that were found in the data.
    settings
        Further fields of `biosae.runs.settings.AnalysisSettings`, such as ``n_permutations``.

    Raises
    ------
    DataError
        If a column does not exist.
    """
    _score(feats, label_keys, dict.fromkeys(ALL, True), settings)


def score_labels(feats: anndata.AnnData, key: str | list[str], **settings: Any) -> None:
    """Score every feature against a label, as `score` does, and nothing else.

    Parameters
    ----------
    feats
        From `biosae.tl.encode` or `Run.features`.
    key
        Column of ``obs``, or several.
    settings
        As for `score`.
    """
    _score(feats, key, {"run_label_scoring": True, "run_density_scoring": True}, settings)


def score_genes(feats: anndata.AnnData, **settings: Any) -> None:
    """Score every feature by the genes that it reads, and those that are expressed where it fires.

    Parameters
    ----------
    feats
        From `biosae.tl.encode` or `Run.features`.
    settings
        As for `score`.
    """
    _score(feats, None, {"run_gene_scoring": True, "run_expression_scoring": True}, settings)


def explain(feats: anndata.AnnData, label_keys: list[str] | str | None = None, **settings: Any) -> None:
    """Name every feature by the simplest explanation that holds on test samples.

    Parameters
    ----------
    feats
        From `biosae.tl.encode` or `Run.features`.
    label_keys, settings
        As for `score`.
    """
    _score(feats, label_keys, {"run_explanations": True, "run_expression_scoring": True}, settings)


def folder_of(feats: anndata.AnnData) -> Path:
    """Return the folder with the token codes of an AnnData of features."""
    folder = feats.uns.get("biosae", {}).get("folder")
    if folder is None or not Path(folder).is_dir():
        message = "feats must come from bs.tl.encode or run.features() of this session, whose token codes are there"
        raise DataError(message, argument="feats")
    return Path(folder)


def _score(feats: anndata.AnnData, keys: list[str] | str | None, wanted: dict[str, bool], settings: dict) -> None:
    """Score what is wanted, and anew what the folder holds already."""
    folder, known = folder_of(feats), set(AnalysisSettings.__dataclass_fields__)
    if unknown := set(settings) - known:
        raise SettingError(f"there is no setting {', '.join(sorted(unknown))} of scores", argument="settings")
    before = feats.uns["biosae"].setdefault("scored", {})
    keys = [keys] if isinstance(keys, str) else keys
    labels = list(dict.fromkeys([*before.get("labels", []), *(keys or [])])) or list(
        read_run(folder)["data"]["label_keys"]
    )
    wanted = {name: wanted.get(name, False) or before.get(name, False) for name in ALL}
    score_stage(folder, AnalysisSettings(label_keys=labels, **wanted, **settings))
    feats.uns["biosae"]["scored"] = wanted | {"labels": labels}
    with_scores(feats, folder)
