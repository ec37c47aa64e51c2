"""Conversion of official checkpoints to safetensors and JSON, which hold data only."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from biosae.artefacts import atomic_folder, write_json
from biosae.errors import ModelError, SettingError

from .checkpoints import Weights, read_checkpoint
from .dictionaries import read_dictionary, read_json
from .folders import resolve_folder
from .geneformer_genes import read_gene_dictionaries

logger = logging.getLogger(__name__)

PICKLED = (".pt", ".bin", ".ckpt")
PLAIN = (".json", ".gz", ".tsv", ".txt", ".safetensors", ".md")
RENAMED = {"pytorch_model": "model", "best_model": "model"}  # to the name that loaders look for first


def convert_checkpoint(model_dir: str | Path, out: str | Path) -> list[Path]:
    """Write an official checkpoint to a new folder without pickles, which adapters read in the same way.

    Tensors keep their official names and become float32. Gene dictionaries that lie beside a
    Geneformer are put with it. Files that hold Python objects of a training run are left out.

    Parameters
    ----------
    model_dir
        The folder of a checkpoint, as loaders take it, or one fair-esm file.
    out
        A folder that does not exist yet.

    Returns
    -------
    list[Path]
        The files written.

    Raises
    ------
    SettingError
        If ``out`` exists.
    ModelError
        If nothing in the folder is a checkpoint, or a file holds more than data.
    """
    out = Path(out).expanduser()
    if out.exists():
        raise SettingError(f"out={out} exists already; give a new folder", argument="out")
    files = _checkpoint_files(model_dir)
    if not any(file.suffix in (*PICKLED, ".safetensors") for file in files):
        raise ModelError(f"{model_dir} holds no weights (.safetensors, .bin, .pt or .ckpt)")
    with atomic_folder(out) as temporary:
        for file in files:
            _convert(file, temporary)
        config = temporary / "config.json"
        if config.exists() and read_json(config).get("model_type") == "bert":
            _write_gene_dictionaries(files[0].parent, read_json(config)["vocab_size"], temporary)
    return sorted(out.iterdir())


def _checkpoint_files(model_dir: str | Path) -> list[Path]:
    path = Path(model_dir).expanduser()
    if path.is_file():
        return [path]
    files = sorted(file for file in resolve_folder(model_dir, "the model's own page").iterdir() if file.is_file())
    return [file for file in files if not _superseded(file, files)]


def _superseded(file: Path, files: list[Path]) -> bool:
    """Return whether the folder has the same weights as safetensors already."""
    return file.suffix in PICKLED and file.with_name(f"{_stem(file)}.safetensors") in files


def _stem(file: Path) -> str:
    return RENAMED.get(file.stem, file.stem)


def _convert(file: Path, folder: Path) -> None:
    if file.name == "training_args.bin" or not file.name.endswith((*PICKLED, *PLAIN, ".pkl")):
        logger.warning("%s is left out: it is not part of the model", file.name)
    elif file.suffix == ".pkl":
        write_json(folder / f"{file.stem}.json", read_dictionary(file))
    elif file.suffix in PICKLED:
        weights, settings = read_checkpoint(file)
        _write(weights, settings, folder / _stem(file))
    else:
        shutil.copyfile(file, folder / file.name)


def _write(weights: Weights, settings: dict[str, Any], path: Path) -> None:
    # Tied matrices share memory, which safetensors does not allow.
    separate = {name: weight.clone().contiguous() for name, weight in weights.items()}
    save_file(separate, path.with_name(f"{path.name}.safetensors"), metadata={"format": "pt"})
    if settings:
        write_json(path.with_name(f"{path.name}.json"), settings)


def _write_gene_dictionaries(source: Path, n_vocabulary: int, folder: Path) -> None:
    genes = read_gene_dictionaries(source, n_vocabulary)
    tables = {
        "token_dictionary": genes.token,
        "gene_median_dictionary": genes.median_of_gene,
        "ensembl_mapping_dict": genes.gene_of_name,
        "gene_name_id_dict": genes.gene_of_symbol,
    }
    for name, table in tables.items():
        if table:
            write_json(folder / f"{name}.json", table)
