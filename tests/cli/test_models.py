"""Every model from its official files, typed as a user types it, and the first errors a user meets."""

import json
import re
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

MODELS = Path(__file__).resolve().parents[1] / "fixtures" / "models"
QUICK = ("training.epochs=1", "sae.dictionary_multiplier=2", "sae.hyperparams.k=4")
CELL_MODELS = {
    "scgpt": ("scgpt", "scgpt", 3),
    "scgpt of another naming": ("scgpt", "scgpt_flash", 3),
    "geneformer v1": ("geneformer-v1", "geneformer_v1/Geneformer-V1-10M", 4),
    "geneformer v2": ("geneformer-v2", "geneformer_v2/Geneformer-V2-104M", 5),
    "scfoundation": ("scfoundation", "scfoundation", 3),
}
PROTEIN_MODELS = {"esm2": "esm2", "fair-esm": "esm2_fair", "fair-esm file": "esm2_fair/esm2_t4_tiny_UR50D.pt"}


@pytest.fixture
def counts(tmp_path):
    """60 cells of another laboratory: symbols alone, some of the models' genes and some that nobody knows."""
    known = anndata.read_h5ad(MODELS / "scgpt" / "input.h5ad").var["gene_name"].astype(str)[:150]
    generator = np.random.default_rng(0)
    names = [*known, *(f"novel{n}" for n in range(20))]
    adata = anndata.AnnData(
        sparse.csr_matrix(generator.poisson(0.4, (60, len(names))).astype(np.float32)),
        obs=pd.DataFrame({"cell_type": ["a", "b"] * 30}, index=[f"c{n}" for n in range(60)]),
        var=pd.DataFrame(index=names),
    )
    adata.write_h5ad(tmp_path / "counts.h5ad")
    return adata


def trained(tmp_path):
    (run,) = tmp_path.glob("runs/0/*/run.json")
    return json.loads(run.read_text())["model"]


@pytest.mark.parametrize("name, folder, n_layers", CELL_MODELS.values(), ids=CELL_MODELS)
def test_cells(biosae, tmp_path, counts, name, folder, n_layers):
    words = (f"scfm={name}", f"scfm.model_dir={MODELS / folder}", "data=h5ad", "data.path=counts.h5ad")
    code, said = biosae("train", *words, *QUICK, f"sae.target_layer={n_layers - 1}", "scfm.site=mlp")
    assert code == 0, said
    assert re.search(r"knows \d+ of 170 genes", said)
    assert Path(folder).name in trained(tmp_path)["name"]
    code, said = biosae("features")
    assert code == 0, said


@pytest.mark.parametrize("folder", PROTEIN_MODELS.values(), ids=PROTEIN_MODELS)
def test_proteins(biosae, tmp_path, folder):
    words = ("plm=esm2", f"plm.model_dir={MODELS / folder}", "data=fasta", f"data.path={MODELS}/esm2/input.fasta")
    code, said = biosae("train", *words, *QUICK, "plm.precision=bf16")
    assert code == 0, said
    assert Path(folder).stem in trained(tmp_path)["name"] or folder == "esm2_fair"


def errors():
    scgpt, v1 = f"scfm.model_dir={MODELS}/scgpt", "geneformer_v1/Geneformer-V1-10M"
    return {
        "no folder": (("scfm=scgpt", "scfm.model_dir=/absent"), "/absent is not a folder .* published at https"),
        "a file": (("scfm=scgpt", f"{scgpt}/best_model.pt"), "is a file; give the folder that it lies in, .*/scgpt"),
        "another model's folder": (
            ("scfm=scgpt", f"scfm.model_dir={MODELS}/esm2"),
            "has no args.json, no vocab.json; download what is missing from .*bowang-lab",
        ),
        "one folder too high": (
            ("scfm=geneformer-v1", f"scfm.model_dir={MODELS}/geneformer_v1"),
            f"did you mean scfm.model_dir={MODELS}/{v1}",
        ),
        "an ESM-2 as Geneformer": (
            ("scfm=geneformer-v2", f"scfm.model_dir={MODELS}/esm2"),
            "model_type=esm, a Geneformer has bert",
        ),
        "unknown model": (("scfm=scgtp", scgpt), "scfm/scgtp does not exist; there are geneformer-mini, .*scgpt"),
        "misspelt setting": (("scfm=scgpt", f"scfm.modeldir={MODELS}"), "did you mean model_dir"),
        "layer": (("scfm=scgpt", scgpt, "sae.target_layer=7"), r"has layers 0 to 2 \(or -3 to -1\), got 7"),
        "site": (("scfm=scgpt", scgpt, "scfm.site=norm"), "scfm.site must be one of residual, mlp, got norm"),
        "precision": (("scfm=scgpt", scgpt, "scfm.precision=fp8"), "precision must be one of fp32, bf16, got fp8"),
        "proteins' model for cells": (
            ("plm=esm2",),
            "plm=esm2 is for proteins, but the data are cells; give data=fasta",
        ),
    }


@pytest.mark.parametrize("words, message", errors().values(), ids=errors())
def test_first_errors_of_a_model_are_one_line(biosae, counts, words, message):
    code, said = biosae("train", "data=h5ad", "data.path=counts.h5ad", *words, *QUICK)
    assert code == 1 and "Traceback" not in said
    assert re.search(f"error: .*{message}", said), said


def with_names(names, ids=None):
    def change(adata):
        adata.var_names = names
        if ids is not None:
            adata.var["gene_ids"] = ids

    return change


def mouse_ids(n):
    return [f"ENSMUSG{i:011d}" for i in range(n)]


def test_first_errors_of_genes_are_one_line(biosae, counts, tmp_path):
    n = counts.n_vars
    mouse = [f"{'Gene' if i % 2 else 'Act'}{chr(97 + i % 26)}{i}" for i in range(n)]
    cases = [
        (with_names([f"probe{i}" for i in range(n)]), (), "knows none of the 170 genes .*probe0.*as data.gene_column"),
        (with_names(mouse), (), "symbols are written as those of a mouse .*orthologues"),
        (with_names(mouse, mouse_ids(n)), (), "Ensembl ids are not human .*ENSMUSG.*orthologues"),
        (lambda adata: adata.var.insert(0, "name", "x"), ("data.gene_column=names",), "names does not exist; var has"),
    ]
    for model, folder in (("scgpt", "scgpt"), ("geneformer-v2", "geneformer_v2/Geneformer-V2-104M")):
        for change, words, message in cases:
            changed = counts.copy()
            change(changed)
            changed.write_h5ad(tmp_path / "changed.h5ad")
            words = (f"scfm={model}", f"scfm.model_dir={MODELS / folder}", "data.path=changed.h5ad", *words)
            code, said = biosae("train", "data=h5ad", *words, *QUICK)
            assert code == 1 and re.search(f"error: .*{message}", said), said


def test_a_dictionary_of_another_version_is_one_line(biosae, counts, tmp_path):
    shutil.copytree(MODELS / "geneformer_v1" / "Geneformer-V1-10M", tmp_path / "Geneformer-V1-10M")
    (tmp_path / "geneformer").mkdir()
    for table in ("token_dictionary", "gene_median_dictionary"):
        source = MODELS / "geneformer_v2" / "geneformer" / f"{table}_gc104M.pkl"
        shutil.copy(source, tmp_path / "geneformer")
    words = ("scfm=geneformer-v1", "scfm.model_dir=Geneformer-V1-10M", "data=h5ad", "data.path=counts.h5ad")
    code, said = biosae("train", *words)
    assert code == 1
    assert re.search(
        "error: .*has 562 tokens, but token_dictionary_gc104M.pkl has 604; V1 models .* need the gc30M", said
    )


def test_a_malicious_dictionary_runs_nothing(biosae, counts, tmp_path):
    shutil.copytree(MODELS / "geneformer_v1" / "Geneformer-V1-10M", tmp_path / "model")
    canary = tmp_path / "canary"
    # Protocol 0: os.system("touch canary").
    (tmp_path / "model" / "token_dictionary.pkl").write_bytes(f"cos\nsystem\n(S'touch {canary}'\ntR.".encode())
    words = ("scfm=geneformer-v1", "scfm.model_dir=model", "data=h5ad", "data.path=counts.h5ad")
    code, said = biosae("train", *words)
    assert code == 1 and "is refused: its pickle asks for os.system" in said
    assert not canary.exists()
