"""`biosae doctor [file]`: what is installed, and what biosae would do with a file."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import platform
import re
import shutil
from pathlib import Path
from typing import Any

import psutil
from omegaconf import OmegaConf
from rich.markup import escape
from rich.table import Table

from biosae.analysis.labels.classes import is_constant_within
from biosae.data.cell_file import matrix_kinds
from biosae.data.cells import Cells, read_cells
from biosae.data.soma import is_soma
from biosae.errors import DataError
from biosae.ops.linear import onednn_is_faster
from biosae.pipeline.inspect_proteins import ProteinFiles, inspect_proteins, is_of_proteins
from biosae.pipeline.models import load_model
from biosae.progress import results
from biosae.runs.data_settings import ProteinSplit

from .launch import errors_on_one_line
from .override_check import DATA_OF

CORE = ("torch", "numpy", "scipy", "pandas", "anndata", "hydra-core", "safetensors")

OF_PROTEINS = {
    "sequences": "FASTA",
    "annotations": "table with one row for each",
    "residues": "feature table or table of sites",
    "groups": "cluster file",
}
WORTH = {"fast": ", with which training on a processor takes a sixth to a third less time"}
"""What the extras are worth that add nothing but speed."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="biosae doctor", description=__doc__)
    parser.add_argument("file", nargs="?", help="an .h5ad, .zarr, SOMA, FASTA or .h5 of embeddings to look at")
    parser.add_argument("--model", default="geneformer-mini", help="match the genes of the file to this scfm= option")
    for name, what in OF_PROTEINS.items():
        parser.add_argument(f"--{name}", help=f"{what} of the proteins in the file")
    arguments = parser.parse_args()
    _show("This machine", machine())
    _show("Extras", extras())
    if arguments.file is not None:
        with errors_on_one_line():
            if is_of_proteins(arguments.file):
                kind = DATA_OF.get(Path(arguments.file.removesuffix(".gz")).suffix, "fasta")
                found = inspect_proteins(_protein_files(arguments))
                _show(str(arguments.file), found | {"would use": f"data={kind} data.path={arguments.file}"})
            else:
                _show(str(arguments.file), inspect_file(arguments.file, arguments.model))


def _protein_files(arguments: argparse.Namespace) -> ProteinFiles:
    """The files that are named, and the split that data=fasta and data=protein_h5 have."""
    others = {name: getattr(arguments, name) for name in OF_PROTEINS}
    split = OmegaConf.to_container(OmegaConf.load(Path(__file__).parent / "config/data/split/tenths.yaml"))
    return ProteinFiles(Path(arguments.file).expanduser(), **others, split=ProteinSplit(**split))


def machine() -> dict[str, str]:
    """Versions, devices, memory and disk."""
    import torch

    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    memory, disk = psutil.virtual_memory(), shutil.disk_usage(".")
    return {
        "biosae": importlib.metadata.version("biosae"),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in CORE},
        "devices": ", ".join(gpus) or f"no GPU; {torch.get_num_threads()} threads",
        "products": "oneDNN, faster than MKL here" if onednn_is_faster() else "as torch chooses",
        "memory": f"{memory.available / 1e9:.0f} of {memory.total / 1e9:.0f} GB free",
        "disk here": f"{disk.free / 1e9:.0f} of {disk.total / 1e9:.0f} GB free",
    }


def extras() -> dict[str, str]:
    """For each extra, whether its packages are installed or the line that installs them."""
    packages: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("biosae") or []:
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if extra and not requirement.startswith("biosae"):
            packages.setdefault(extra[1], []).append(re.match(r"[\w-]+", requirement)[0])
    return {name: _extra_state(name, needed) for name, needed in packages.items() if name != "dev"}


def _extra_state(extra: str, packages: list[str]) -> str:
    missing = [package for package in packages if not _is_installed(package)]
    if missing:
        return f"{', '.join(missing)} missing{WORTH.get(extra, '')}: pip install 'biosae[{extra}]'"
    return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in packages)


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def inspect_file(path: str, model: str) -> dict[str, str]:
    """What every matrix of the file holds, and what reading it for a model would find."""
    findings = {} if is_soma(path) else matrix_kinds(path)
    try:
        cells = read_cells(path)
    except DataError as error:
        return findings | {"would stop": str(error)}
    findings["would use"] = "; ".join([*cells.findings, *_confounded(cells)])
    findings[model] = load_model(_model_config(model), "cpu").match_genes(cells.var).sentence
    return findings


def _confounded(cells: Cells) -> list[str]:
    """Labels that the donor or batch determines: shuffling within it changes nothing."""
    if cells.batch_key is None:
        return []
    batch = cells.obs[cells.batch_key].astype(str).to_numpy()
    return [
        f"every {cells.batch_key} has one value of {key}: a null that shuffles within it cannot tell them apart"
        for key in cells.label_keys
        if key != cells.batch_key and is_constant_within(cells.obs[key], batch)
    ]


def _model_config(name: str) -> dict[str, Any]:
    folder = Path(__file__).parent / "config" / "scfm"
    path = folder / f"{name}.yaml"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml")))
        raise DataError(f"there is no model {name}; there are {known}")
    return OmegaConf.to_container(OmegaConf.load(path))


def _show(title: str, rows: dict[str, str]) -> None:
    table = Table(title=escape(title), show_header=False, box=None, title_justify="left", title_style="bold")
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(escape(name), escape(value))
    results.print(table)
    results.print()
