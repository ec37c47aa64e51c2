"""The feature atlas of a run: one folder of static files, or one file, that opens without server or network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from biosae.artefacts import atomic_folder, atomic_write
from biosae.progress import progress_bar

from .cell_map import cell_content, cell_map
from .compared_runs import compared_runs, frontier
from .expressed_genes import ExpressionTables
from .feature_list import feature_list
from .feature_pages import FEATURES_PER_SHARD, feature_pages, gallery, tracks_of
from .gene_index import GENES_PER_SHARD, GeneIndex
from .label_tables import LabelTables
from .overview import overview
from .page_data import script
from .run_folder import RunFolder, read_run_folder
from .steering_tables import read_steering

FORMAT = 1
WORDS = {"cells": ("cell", "gene"), "proteins": ("protein", "residue")}
SCRIPTS = (
    "data.js",
    "dom.js",
    "figure.js",
    "charts.js",
    "cellmap.js",
    "tracks.js",
    "table.js",
    "pages/overview.js",
    "pages/features.js",
    "pages/feature.js",
    "pages/genes.js",
    "pages/labels.js",
    "pages/steering.js",
    "pages/stability.js",
    "pages/comparison.js",
    "main.js",
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline' 'self' file:; img-src data: blob:; script-src "


def write_report(run_folder: Path, out: Path) -> Path:
    """Write the report of a run into the folder ``out`` and return its index.html.

    Raises
    ------
    ArtefactError
        If a required artefact is missing or damaged, or ``out`` cannot be written.
    """
    run = read_run_folder(run_folder)
    with atomic_folder(Path(out)) as folder, progress_bar("report", None, "files") as advance:
        (folder / "data").mkdir()
        for name, content in page_content(run):
            (folder / "data" / f"{name}.js").write_text(script(name, content), encoding="ascii")
            advance()
        (folder / "js" / "pages").mkdir(parents=True)
        for name in SCRIPTS:
            (folder / "js" / name).write_text(_static(f"js/{name}"), encoding="utf-8")
        (folder / "style.css").write_text(_static("style.css"), encoding="utf-8")
        (folder / "index.html").write_text(_index(), encoding="utf-8")
    return Path(out) / "index.html"


def write_single_page(run_folder: Path, path: Path) -> Path:
    """Write the whole report of a run as one HTML file and return its path.

    Everything is read at once when it opens: meant for some thousand features, not for tens of thousands.
    """
    data = [script(name, content) for name, content in page_content(read_run_folder(run_folder))]
    sources = [_static(f"js/{name}") for name in SCRIPTS]
    program = "\n".join([sources[0], *data, *sources[1:]])
    with atomic_write(Path(path)) as temporary:
        temporary.write_text(_single(program), encoding="utf-8")
    return Path(path)


def page_content(run: RunFolder) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of everything the page can load; ``core`` is what it opens with."""
    genes, labels = GeneIndex(run), LabelTables(run)
    expressed = ExpressionTables(run, genes)
    shown = cell_map(run.table, run.folder)
    steering, compared = read_steering(run.folder), compared_runs(run)
    first = overview(run, frontier(compared, run))
    has_gallery = shown is not None and any(label["best"] for label in first["labels"][:1])
    has = {"gallery": has_gallery, "steering": steering.exists, "comparison": compared is not None}
    yield "core", _core(run, genes, labels, expressed) | {"overview": first, "has": has}
    yield "cells", cell_content(run, shown)
    if has_gallery:
        yield "gallery", gallery(run, first["labels"], shown)
    yield from labels.shards()
    for (name, content), by_expression in zip(genes.shards(), expressed.shards(), strict=True):
        yield name, content | ({"expressed": by_expression} if expressed.exist else {})
    if steering.exists:
        yield "steering", steering.content()
    if compared is not None:
        yield "comparison", compared
    yield from feature_pages(run, genes, labels, shown, tracks_of(run), steering, expressed)


def _core(run: RunFolder, genes: GeneIndex, labels: LabelTables, expressed: ExpressionTables) -> dict[str, Any]:
    sample, token = WORDS[run.settings["data"].get("kind", "cells")]
    return {
        "format": FORMAT,
        "sample": sample,
        "token": token,
        "features_per_shard": FEATURES_PER_SHARD,
        "genes_per_shard": GENES_PER_SHARD,
        "features": feature_list(run, genes, expressed),
        "genes": {"names": genes.names, "identifiers": genes.identifiers},
        "labels": labels.content(),
        "expressed": expressed_summary(run),
    }


def expressed_summary(run: RunFolder) -> dict[str, Any] | None:
    """The column whose classes effects are also reported within; None for a run without genes by expression."""
    found = ((run.analysis or {}).get("summary") or {}).get("expressed")
    return None if found is None else {"label": found.get("label")}


def _static(name: str) -> str:
    return (files("biosae.atlas") / "static" / name).read_text(encoding="utf-8")


def _index() -> str:
    tags = [f'<script src="js/{SCRIPTS[0]}"></script>', '<script src="data/core.js"></script>']
    tags += [f'<script src="js/{name}"></script>' for name in SCRIPTS[1:]]
    style = '<link rel="stylesheet" href="style.css">'
    return _fill(style=style, scripts="\n".join(tags), policy=_POLICY + "'self' file:")


def _single(program: str) -> str:
    digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
    style = f"<style>{_static('style.css')}</style>"
    return _fill(style=style, scripts=f"<script>{program}</script>", policy=f"{_POLICY}'sha256-{digest}'")


def _fill(style: str, scripts: str, policy: str) -> str:
    page = _static("index.html")
    for name, text in {"POLICY": policy, "STYLE": style, "SCRIPTS": scripts}.items():
        page = page.replace(f"<!-- {name} -->" if name != "POLICY" else "POLICY", text)
    return page
