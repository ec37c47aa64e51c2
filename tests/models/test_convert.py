"""Converted checkpoints hold no pickle and give the same numbers."""

import shutil

import anndata
import numpy as np
import pytest
import torch

from biosae.errors import ModelError, SettingError
from biosae.models.convert import convert_checkpoint
from biosae.models.esm2 import load_esm2
from biosae.models.geneformer import load_geneformer
from biosae.models.scfoundation import load_scfoundation
from biosae.models.scgpt import load_scgpt
from biosae.models.tokens import pad_batch

from .conftest import canonical_cells

PLAIN = {".json", ".safetensors", ".tsv", ".gz", ".txt"}


def same_embeddings(before, after, samples):
    embeddings = []
    for adapter in (before, after):
        sequences = adapter.tokenize(samples)
        embeddings.append(adapter.embed(pad_batch(sequences, np.flatnonzero(sequences.lengths), adapter.pad_token)))
    return torch.equal(*embeddings)


@pytest.mark.parametrize(
    "load, folder",
    [
        (load_scgpt, "scgpt"),
        (load_scgpt, "scgpt_flash"),
        (load_scfoundation, "scfoundation"),
        (load_geneformer, "geneformer_v1/Geneformer-V1-10M"),
        (load_geneformer, "geneformer_v2/Geneformer-V2-104M"),
    ],
)
def test_cell_models(golden, tmp_path, load, folder):
    source = golden / folder
    if folder == "scgpt_flash":  # the folder holds two weight files
        source = tmp_path / "one"
        shutil.copytree(golden / folder, source, ignore=shutil.ignore_patterns("*impl*"))
    files = convert_checkpoint(source, tmp_path / "out")
    assert {file.suffix for file in files} <= PLAIN | {".md"}
    cells = canonical_cells(anndata.read_h5ad(golden / folder.split("/")[0].removesuffix("_flash") / "input.h5ad"))
    assert same_embeddings(load(source), load(tmp_path / "out"), cells)


def test_a_pickled_geneformer(golden, tmp_path):
    shutil.copytree(golden / "geneformer_v1", tmp_path / "v1")
    source = tmp_path / "v1" / "Geneformer-V1-10M"
    (source / "model.safetensors").unlink()
    (source / "training_args.bin").write_bytes(b"anything")
    files = convert_checkpoint(source, tmp_path / "out")
    assert {file.name for file in files} >= {"model.safetensors", "token_dictionary.json"}
    assert {file.suffix for file in files} <= PLAIN
    cells = canonical_cells(anndata.read_h5ad(golden / "geneformer_v1" / "input.h5ad"))
    assert same_embeddings(load_geneformer(source), load_geneformer(tmp_path / "out"), cells)


def test_fair_esm(golden, tmp_path, proteins):
    convert_checkpoint(golden / "esm2_fair" / "esm2_t4_tiny_UR50D.pt", tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "esm2_t4_tiny_UR50D.json",
        "esm2_t4_tiny_UR50D.safetensors",
    ]
    assert same_embeddings(load_esm2(golden / "esm2_fair"), load_esm2(tmp_path / "out"), proteins)


def test_an_existing_folder_is_never_replaced(tiny_scgpt, tmp_path):
    with pytest.raises(SettingError, match="exists already"):
        convert_checkpoint(tiny_scgpt, tiny_scgpt)
    assert (tiny_scgpt / "best_model.pt").exists()


def test_a_folder_without_weights_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds no weights"):
        convert_checkpoint(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_malicious_file_leaves_nothing_behind(tmp_path):
    class Touch:
        def __reduce__(self):
            return open, (str(tmp_path / "canary"), "w")

    (tmp_path / "in").mkdir()
    torch.save({"a": Touch()}, tmp_path / "in" / "best_model.pt")
    with pytest.raises(ModelError, match="cannot be read as plain tensors"):
        convert_checkpoint(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "canary").exists() and not (tmp_path / "out").exists()
