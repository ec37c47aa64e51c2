"""The report of an AnnData of features."""

from __future__ import annotations

from pathlib import Path

import anndata

from biosae.analysis.results import SCORES
from biosae.atlas.page import write_report

from .scoring import folder_of, score


def report(feats: anndata.AnnData, folder: Path | str = "report") -> Path:
    """Write the page of a run's features, and return the path of its index.html.

    Parameters
    ----------
    feats
        From `biosae.tl.encode` or `Run.features`; features without scores are scored first.
    folder
        Folder of the page, which is replaced.

    Raises
    ------
    ArtefactError
        If the folder cannot be written.
    """
    run = folder_of(feats)
    if not (run / SCORES).exists():
        score(feats)
    return write_report(run, Path(folder))
