"""A run folder as docs/formats.md describes it, made from planted cell types without a model.

Features 0 to 4 fire on the genes of one cell type each, feature 5 reads one gene wherever it occurs,
feature 6 never fires, the others are noise.
"""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.metrics import average_precision_score, roc_auc_score

from biosae.artefacts import content_hash
from biosae.features.token_codes import TokenCodesShard

N_CELLS, N_GENES, D_SAE, D_IN = 300, 80, 40, 16
TOKENS_PER_CELL = 25
DEAD, GENE_FEATURE = 6, 5
CLASSES = ("B cells", "CD4 T cells", "NK cells", "Monocytes", "<img src=x onerror=alert(1)>")
PARTS = ("train", "validate", "select", "test")


def write_run(folder: Path, seed: int = 0) -> Path:
    """Writes every artefact into ``folder`` and gives it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    kind = rng.integers(len(CLASSES), size=N_CELLS)
    part = np.array(PARTS)[rng.choice(4, size=N_CELLS, p=[0.4, 0.1, 0.25, 0.25])]
    tokens = _tokens(rng, kind)
    codes = _codes(rng, kind, tokens)  # (n_tokens, d_sae) sparse
    W_dec = rng.normal(size=(D_SAE, D_IN)).astype(np.float32)
    W_dec /= np.linalg.norm(W_dec, axis=1, keepdims=True)
    save_file({"W_dec": W_dec}, folder / "sae.safetensors")
    sae_hash = content_hash(folder / "sae.safetensors")
    table = _table(rng, kind, part, tokens, codes, sae_hash)
    table.write_h5ad(folder / "features.h5ad")
    _write_token_codes(folder / "token_codes", tokens, codes, sae_hash)
    labels = _labels(table)
    genes = _genes(tokens, codes)
    (folder / "tables").mkdir(exist_ok=True)
    labels.to_csv(folder / "tables" / "labels.csv", index=False)
    genes.to_csv(folder / "tables" / "genes.csv", index=False)
    _scores(table, labels, genes).to_csv(folder / "scores.csv")
    _enrichment(genes).to_csv(folder / "tables" / "enrichment.csv", index=False)
    _write_metrics(folder / "metrics.csv")
    _write_json(folder, part, sae_hash)
    return folder


def _tokens(rng: np.random.Generator, kind: np.ndarray) -> dict[str, np.ndarray]:
    """Every cell expresses the ten genes of its type more often than the others."""
    sample = np.repeat(np.arange(N_CELLS), TOKENS_PER_CELL)
    own = rng.random(len(sample)) < 0.5
    token = np.where(
        own, 10 * kind[sample] + rng.integers(10, size=len(sample)), rng.integers(N_GENES, size=len(sample))
    )
    return {"sample": sample, "token": token.astype(np.int32), "value": rng.gamma(2, 3, len(sample)).astype(np.float32)}


def _codes(rng: np.random.Generator, kind: np.ndarray, tokens: dict[str, np.ndarray]) -> sparse.csc_array:
    token, value = tokens["token"], tokens["value"]
    codes = np.where(rng.random((len(token), D_SAE)) < 0.03, rng.gamma(1, 0.5, (len(token), D_SAE)), 0)
    for j in range(len(CLASSES)):
        mine = (token // 10 == j) & (kind[tokens["sample"]] == j)
        codes[:, j] = np.where(mine, 1 + 0.2 * value, 0)
    codes[:, GENE_FEATURE] = np.where(token == 70, 2 + rng.random(len(token)), 0)
    codes[:, DEAD] = 0
    return sparse.csc_array(codes.astype(np.float32))


def _table(rng, kind, part, tokens, codes, sae_hash) -> anndata.AnnData:
    of_sample = sparse.csr_array((np.ones(len(kind) * TOKENS_PER_CELL), (tokens["sample"], np.arange(codes.shape[0]))))
    largest = np.maximum.reduceat(codes.toarray(), np.arange(0, codes.shape[0], TOKENS_PER_CELL), axis=0)
    total = sparse.csr_matrix((of_sample @ codes).astype(np.float32))
    active = sparse.csr_matrix((of_sample @ (codes > 0)).astype(np.float32))
    names = [f"cell-{i:04d}" for i in range(len(kind))]
    obs = pd.DataFrame({"cell_type": pd.Categorical(np.array(CLASSES)[kind]), "biosae_part": part}, index=names)
    obs["biosae_n_tokens"] = TOKENS_PER_CELL
    var = pd.DataFrame(
        {"frequency_token": np.asarray((codes > 0).mean(axis=0)).ravel()}, index=[f"f{j}" for j in range(D_SAE)]
    )
    var["max_code"] = codes.max(axis=0).toarray().ravel()
    layers = {"mean": total / TOKENS_PER_CELL, "sum": total, "fraction_active": active / TOKENS_PER_CELL}
    embedding = (3 * np.eye(len(CLASSES), D_IN)[kind] + rng.normal(size=(len(kind), D_IN))).astype(np.float32)
    provenance = {"format": 1, "sae_hash": sae_hash, "model": "toy", "layer": 1, "pooling": "max", "version": "0"}
    return anndata.AnnData(
        sparse.csr_matrix(largest), obs, var, layers=layers, obsm={"X_model": embedding}, uns={"biosae": provenance}
    )


def _write_token_codes(folder: Path, tokens: dict[str, np.ndarray], codes: sparse.csc_array, sae_hash: str) -> None:
    folder.mkdir(exist_ok=True)
    vocabulary = pd.DataFrame({"token": range(N_GENES), "identifier": _identifiers(), "name": _symbols()})
    vocabulary.to_csv(folder / "vocabulary.csv", index=False)
    half = codes.shape[0] // 2
    shards = []
    for number, rows in enumerate((slice(0, half), slice(half, None))):
        part = codes[rows].tocsc()
        part.sort_indices()
        pieces = [tokens[name][rows] for name in ("sample", "token", "value")]
        shard = TokenCodesShard(*pieces, part.indptr.astype(np.int64), part.indices.astype(np.int32), part.data)
        name = f"shard-{number:05d}.safetensors"
        shard.write(folder / name, {})
        hash_ = content_hash(folder / name)
        shards.append({"name": name, "n_tokens": shard.n_tokens, "nnz": int(part.nnz), "hash": hash_})
    manifest = {"format": 1, "d_sae": D_SAE, "n_tokens": codes.shape[0], "n_samples": N_CELLS, "nnz": int(codes.nnz)}
    (folder / "manifest.json").write_text(
        json.dumps(manifest | {"sae_hash": sae_hash, "activations_hash": "0" * 16, "shards": shards})
    )


def _symbols() -> list[str]:
    return ["NA", *(f"GENE{i}" for i in range(1, N_GENES))]  # a gene may be called NA


def _identifiers() -> list[str]:
    return [f"ENSG{i:011d}" for i in range(N_GENES)]


def _labels(table: anndata.AnnData) -> pd.DataFrame:
    rows = []
    part, kind = table.obs["biosae_part"].to_numpy(), table.obs["cell_type"].astype(str).to_numpy()
    X = table.X.toarray()
    for feature in range(D_SAE):
        for name in CLASSES:
            positive = {split: kind[part == split] == name for split in ("select", "test")}
            code = {split: X[part == split, feature] for split in ("select", "test")}
            auroc = {split: roc_auc_score(positive[split], code[split]) for split in positive}
            counts = [int(positive[split].sum()) for split in ("select", "test")]
            precision = average_precision_score(positive["test"], code["test"])
            rows.append([feature, "cell_type", name, *counts, auroc["select"], auroc["test"], precision, 0.5, 0.1])
    columns = "feature label class n_positive_select n_positive_test auroc_select auroc average_precision f1 threshold"
    return pd.DataFrame(rows, columns=columns.split())


def _genes(tokens: dict[str, np.ndarray], codes: sparse.csc_array) -> pd.DataFrame:
    entries = codes.tocoo()
    frame = pd.DataFrame({"feature": entries.col, "token": tokens["token"][entries.row], "code": entries.data})
    frame["sample"] = tokens["sample"][entries.row]
    grouped = frame.groupby(["feature", "token"])
    table = grouped.agg(
        n_tokens=("code", "size"), n_samples=("sample", "nunique"), mean=("code", "mean"), max=("code", "max")
    )
    table["share"] = grouped["code"].sum() / frame.groupby("feature")["code"].sum()
    table = table.reset_index()
    table["specificity"] = table["n_tokens"] / np.bincount(tokens["token"], minlength=N_GENES)[table["token"]]
    table.insert(1, "gene", np.array(_symbols())[table["token"]])
    table.insert(2, "identifier", np.array(_identifiers())[table["token"]])
    ordered = table.drop(columns="token").sort_values(["feature", "share"], ascending=[True, False])
    return ordered.groupby("feature").head(50)


def _scores(table: anndata.AnnData, labels: pd.DataFrame, genes: pd.DataFrame) -> pd.DataFrame:
    best = labels.loc[labels.groupby("feature")["auroc_select"].idxmax()].set_index("feature")
    frequency = table.var["frequency_token"].to_numpy()
    top = genes.groupby("feature")["gene"].agg(lambda names: ";".join(names[:10])).reindex(range(D_SAE))
    share = genes.groupby("feature")["share"].max().reindex(range(D_SAE))
    planted = np.arange(D_SAE) < len(CLASSES)
    alive = frequency > 0
    label = {name: best[name] for name in ("class", "auroc_select", "auroc", "average_precision", "f1", "threshold")}
    label |= {"auroc_low": best["auroc"] - 0.05, "auroc_high": np.minimum(1, best["auroc"] + 0.05)}
    label |= {"base_rate": 0.2, "effect": 2 * best["auroc"] - 1, "ami": 0.1, "margin": 0.1, "null_auroc": 0.66}
    label |= {"p_value": np.where(planted, 0.001, 0.6), "q_value": np.where(planted, 0.008, 0.9)}
    columns = {
        ("density", "frequency_token"): frequency,
        ("density", "frequency_sample"): np.diff(table.X.tocsc().indptr) / N_CELLS,
    }
    columns |= {("density", "mean_active"): 1.0, ("density", "max"): table.var["max_code"].to_numpy()}
    columns |= {("density", "kind"): np.where(alive, "normal", "dead")}
    columns |= {
        ("label:cell_type", name): pd.Series(values, index=best.index).where(alive) for name, values in label.items()
    }
    columns |= {
        ("genes", "top_genes"): top,
        ("genes", "n_genes"): 10.0,
        ("genes", "effective_genes"): 5.0,
        ("genes", "top_share"): share,
    }
    frame = pd.DataFrame(columns, index=pd.RangeIndex(D_SAE, name="feature"))
    frame.columns = pd.MultiIndex.from_tuples(frame.columns, names=["analysis", "metric"])
    return frame


def _enrichment(genes: pd.DataFrame) -> pd.DataFrame:
    """Feature 0 is enriched for the ten genes that were planted for its type."""
    shared = ";".join(genes.loc[genes["feature"] == 0, "gene"].head(10))
    row = {"feature": 0, "set": "PLANTED_B", "source": "toy", "overlap": 10, "list_size": 10, "set_size": 10}
    return pd.DataFrame([row | {"fold": 8.0, "p_value": 1e-9, "q_value": 1e-6, "genes": shared}])


def _write_metrics(path: Path) -> None:
    steps = np.arange(0, 1000, 100)
    rows = [
        {
            "step": s,
            "tokens": s * 512,
            "split": split,
            "loss": 1 / (1 + s / 100),
            "fvu": 1 / (1 + s / 100) if split == "validate" else None,
            "l0": 8,
        }
        for s in steps
        for split in ("train", "validate")
    ]
    pd.DataFrame(rows).to_csv(path, index=False)


def _write_json(folder: Path, part: np.ndarray, sae_hash: str) -> None:
    settings = {
        "format": 1,
        "biosae": "0.1.0",
        "versions": {"python": "3.11", "numpy": "2"},
        "created": "2026-01-29T10:00:00Z",
        "command": "biosae train data=toy",
        "seed": 0,
        "data": {
            "name": "toy",
            "path": "toy.h5ad",
            "description": "300 planted cells",
            "kind": "cells",
            "n_samples": N_CELLS,
            "n_columns": N_GENES,
            "hash": "1" * 16,
            "label_keys": ["cell_type"],
            "batch_key": None,
        },
        "split": {"n": {name: int((part == name).sum()) for name in PARTS}, "group_key": None, "seed": 0},
        "model": {
            "name": "toy-host",
            "fingerprint": "2" * 16,
            "layer": 1,
            "n_layers": 2,
            "d_model": D_IN,
            "n_genes_matched": N_GENES,
        },
        "sae": {"variant": "BatchTopK", "d_in": D_IN, "d_sae": D_SAE, "hash": sae_hash},
        "activations": {"folder": "activations", "n_tokens": 7500, "n_train_tokens": 3000, "hash": "3" * 16},
    }
    evaluation = {"fvu": 0.12, "nmse": 0.11, "cosine": 0.95, "l0": 8.1, "dead_fraction": 1 / D_SAE, "n_tokens": 700}
    evaluation |= {"relative_reconstruction_bias": 0.99, "recovery_vs_zero": 0.98, "recovery_vs_mean": 0.91}
    (folder / "run.json").write_text(json.dumps(settings))
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "analysis.json").write_text(json.dumps({"format": 1}))
