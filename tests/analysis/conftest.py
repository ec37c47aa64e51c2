import anndata
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from scipy import sparse

from biosae.artefacts import content_hash, write_json

PARTS = ("train", "validate", "select", "test")
CLASSES = ("B", "NK", "T")
D_SAE = 12
N_GENES = 30
MARKER = {"B": 2, "NK": 5, "T": 7}  # the planted feature of each class
SILENT = 11


def make_tokens(n_samples=240, per_sample=8, seed=0):
    """Tokens of samples whose class switches on one feature; features 0 to 9 also fire at random.

    Every sample has ``per_sample`` different genes, sample 3 has none. Feature 4 fires on gene 9 alone.
    """
    generator = np.random.default_rng(seed)
    label = np.array(CLASSES)[generator.integers(0, 3, n_samples)]
    sample = np.repeat(np.setdiff1d(np.arange(n_samples), [3]), per_sample)
    token = np.concatenate([generator.permutation(N_GENES)[:per_sample] for _ in range(n_samples - 1)])
    value = generator.gamma(2.0, 1.0, len(sample)).astype(np.float32)
    noise = sparse.random(len(sample), D_SAE, 0.15, random_state=generator, format="lil", dtype=np.float32)
    for feature in MARKER.values():
        noise[:, feature] = 0
    noise[:, 4], noise[:, 10], noise[:, SILENT] = 0, 0, 0
    codes = noise.tolil()
    for name, feature in MARKER.items():
        on = np.flatnonzero((label[sample] == name) & (generator.random(len(sample)) < 0.5))
        codes[on, feature] = 1 + generator.random(len(on)).astype(np.float32)
    codes[token == 9, 4] = 3.0
    return {"label": label, "sample": sample, "token": token, "value": value, "codes": sparse.csr_matrix(codes)}


def write_token_codes(folder, tokens, n_shards=3, sae_hash="abc"):
    """The token_codes folder of docs/formats.md; shards end between samples."""
    folder.mkdir(parents=True)
    n_samples = len(tokens["label"])
    shards = []
    for number, samples in enumerate(np.array_split(np.arange(n_samples), n_shards)):
        rows = np.isin(tokens["sample"], samples)
        by_feature = tokens["codes"][rows].tocsc()
        by_feature.sort_indices()
        tensors = {
            "sample": tokens["sample"][rows].astype(np.int64),
            "token": tokens["token"][rows].astype(np.int32),
            "value": tokens["value"][rows],
            "feature_offsets": by_feature.indptr.astype(np.int64),
            "row": by_feature.indices.astype(np.int32),
            "code": by_feature.data.astype(np.float32),
        }
        path = folder / f"shard-{number:05d}.safetensors"
        save_file(tensors, path)
        shards.append(
            {"name": path.name, "n_tokens": int(rows.sum()), "nnz": by_feature.nnz, "hash": content_hash(path)}
        )
    totals = {"n_tokens": len(tokens["sample"]), "nnz": tokens["codes"].nnz}
    manifest = {"format": 1, "d_sae": D_SAE, "n_samples": n_samples, **totals, "sae_hash": sae_hash, "shards": shards}
    manifest["activations_hash"] = "def"
    write_json(folder / "manifest.json", manifest)
    names = {"token": range(N_GENES), "identifier": [f"ENSG{n}" for n in range(N_GENES)]}
    pd.DataFrame(names | {"name": [f"GENE{n}" for n in range(N_GENES)]}).to_csv(folder / "vocabulary.csv", index=False)


def write_table(path, tokens, sae_hash="abc", seed=1, **columns):
    """features.h5ad of the tokens, with the class, a donor and the part of each sample."""
    generator = np.random.default_rng(seed)
    n_samples = len(tokens["label"])
    member = sparse.csr_matrix(
        (np.ones(len(tokens["sample"])), tokens["sample"], np.arange(len(tokens["sample"]) + 1)),
        shape=(len(tokens["sample"]), n_samples),
    )
    n_tokens = np.bincount(tokens["sample"], minlength=n_samples)
    per_token = sparse.diags(1 / np.maximum(n_tokens, 1))
    summed = (member.T @ tokens["codes"]).tocsr()
    largest = np.zeros((n_samples, D_SAE), dtype=np.float32)
    entries = tokens["codes"].tocoo()
    np.maximum.at(largest, (tokens["sample"][entries.row], entries.col), entries.data)
    active = tokens["codes"].astype(bool).astype(np.float32)
    pooled = {
        "max": sparse.csr_matrix(largest),
        "sum": summed.astype(np.float32),
        "mean": sparse.csr_matrix(per_token @ summed, dtype=np.float32),
        "fraction_active": sparse.csr_matrix(per_token @ (member.T @ active), dtype=np.float32),
    }
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(tokens["label"]),
            "donor": generator.choice(["d0", "d1", "d2", "d3"], n_samples),
            "biosae_part": generator.choice(
                ["train", "validate", "select", "test"], n_samples, p=[0.2, 0.1, 0.35, 0.35]
            ),
            "biosae_n_tokens": n_tokens,
            **columns,
        },
        index=[f"cell{n}" for n in range(n_samples)],
    )
    frequency = np.asarray(active.mean(axis=0)).ravel()
    var = pd.DataFrame(
        {"frequency_token": frequency, "max_code": largest.max(axis=0)}, index=[f"f{j}" for j in range(D_SAE)]
    )
    provenance = {"sae_hash": sae_hash, "model": "made-up", "layer": 0}
    layers = {name: pooled[name] for name in ("mean", "sum", "fraction_active")}
    table = anndata.AnnData(pooled["max"], obs=obs, var=var, layers=layers)
    table.uns["biosae"] = {"format": 1, "pooling": "max", **provenance}
    table.write_h5ad(path)


@pytest.fixture(scope="session")
def tokens():
    return make_tokens()


@pytest.fixture
def run(tmp_path, tokens):
    """A folder with features.h5ad and token_codes/."""
    write_token_codes(tmp_path / "token_codes", tokens)
    write_table(tmp_path / "features.h5ad", tokens)
    return tmp_path


@pytest.fixture
def generator():
    return np.random.default_rng(0)
