"""Checkpoints for the model tests: tiny ones made here, and the golden files of the official code."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from scipy import sparse
from torch import nn
from transformers import BertConfig, BertModel, EsmConfig, EsmModel

GOLDEN = Path(__file__).resolve().parents[1] / "fixtures" / "models"
GENES = [f"ENSG{n:011d}" for n in range(1, 41)]
SYMBOLS = [f"GENE{n}" for n in range(1, 41)]


@pytest.fixture
def golden():
    """The folder of golden model files; its README says how they were made."""
    return GOLDEN


def canonical_cells(adata: anndata.AnnData) -> anndata.AnnData:
    """A golden input in the form that adapters read."""
    var = pd.DataFrame(
        {"ensembl_id": adata.var["ensembl_id"].astype(str), "symbol": adata.var["gene_name"].astype(str)},
        index=adata.var_names,
    )
    obs = pd.DataFrame({"n_counts": np.asarray(adata.X.sum(1)).ravel()}, index=adata.obs_names)
    return anndata.AnnData(sparse.csr_matrix(adata.X, dtype=np.float32), obs=obs, var=var)


@pytest.fixture
def tiny_cells() -> anndata.AnnData:
    """Fourteen cells of two donors, of different depth over the genes of `tiny_geneformer`; the fourth is empty."""
    generator = np.random.default_rng(0)
    counts = generator.poisson(np.linspace(0.05, 2.0, 14)[:, None], size=(14, len(GENES))).astype(np.float32)
    counts[3] = 0
    donor = pd.Categorical(["b", "a"] * 7)
    obs = pd.DataFrame({"n_counts": counts.sum(1), "donor": donor}, index=[f"cell{n}" for n in range(14)])
    var = pd.DataFrame({"ensembl_id": GENES, "symbol": SYMBOLS}, index=SYMBOLS)
    return anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


@pytest.fixture
def cells(tiny_cells) -> anndata.AnnData:
    """`tiny_cells`, where no golden file takes the name."""
    return tiny_cells


@pytest.fixture
def tiny_geneformer(tmp_path) -> Path:
    """A random Geneformer of three layers with <cls> and <eos>, in the official layout."""
    special = ["<pad>", "<mask>", "<cls>", "<eos>"]
    write_json_gz(tmp_path / "token_dictionary.json.gz", {name: n for n, name in enumerate(special + GENES)})
    medians = np.random.default_rng(1).uniform(0.5, 5.0, len(GENES))
    write_json_gz(tmp_path / "gene_median_dictionary.json.gz", dict(zip(GENES, medians, strict=True)))
    mapping = dict(zip(SYMBOLS, GENES, strict=True)) | {g: g for g in GENES} | {"ENSG00000000099": GENES[0]}
    write_json_gz(tmp_path / "ensembl_mapping_dict.json.gz", mapping)
    config = BertConfig(
        vocab_size=len(special + GENES), hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=24, hidden_act="relu", max_position_embeddings=64, layer_norm_eps=1e-12, pad_token_id=0,
    )  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    torch.manual_seed(0)
    network = BertModel(config, add_pooling_layer=False)
    # Wide weights, so that a wrong mask or a missed edit shows in the numbers.
    weights = {f"bert.{n}": 5 * w for n, w in network.state_dict().items() if w.is_floating_point()}
    save_file(weights, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def tiny_scgpt(tmp_path) -> Path:
    """A random scGPT of three layers under the names of torch's own encoder."""
    special = ["<pad>", "<cls>", "<eoc>"]
    vocabulary = {name: n for n, name in enumerate([*SYMBOLS, *special])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    args = {"embsize": 16, "nheads": 2, "d_hid": 24, "nlayers": 3, "n_bins": 51, "max_seq_len": 64}
    (tmp_path / "args.json").write_text(json.dumps(args))
    torch.manual_seed(0)
    parts = {
        "encoder.embedding": nn.Embedding(len(vocabulary), 16),
        "encoder.enc_norm": nn.LayerNorm(16),
        "value_encoder.linear1": nn.Linear(1, 16),
        "value_encoder.linear2": nn.Linear(16, 16),
        "value_encoder.norm": nn.LayerNorm(16),
        "transformer_encoder": torch_encoder(16, 2, 24, 3),
    }
    torch.save(named_weights(parts), tmp_path / "best_model.pt")
    return tmp_path


@pytest.fixture
def tiny_scgpt_of_batches(tiny_scgpt) -> Path:
    """The same, fine-tuned on two batches, with a head that predicts expression from state and batch."""
    weights = torch.load(tiny_scgpt / "best_model.pt", weights_only=True)
    generator = torch.Generator().manual_seed(1)
    for n in range(2):
        norm = nn.BatchNorm1d(16, eps=6.1e-5)
        for tensor in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            tensor.uniform_(0.5, 1.5, generator=generator)
        weights |= named_weights({f"dsbn.bns.{n}": norm})
    parts = {
        "decoder.fc": nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1)),
        "batch_encoder.embedding": nn.Embedding(2, 16),
        "batch_encoder.enc_norm": nn.LayerNorm(16),
    }
    torch.save(weights | named_weights(parts), tiny_scgpt / "best_model.pt")
    return tiny_scgpt


@pytest.fixture
def tiny_scfoundation(tmp_path) -> Path:
    """A random scFoundation of three layers with a gene list of its own."""
    rows = "".join(f"{symbol}\t{n}\n" for n, symbol in enumerate(SYMBOLS))
    (tmp_path / "OS_scRNA_gene_index.19264.tsv").write_text("gene_name\tindex\n" + rows)
    encoder = {"hidden_dim": 16, "depth": 3, "heads": 2, "module_type": "transformer", "norm_first": False}
    config = {"model_config": {"mae_autobin": {"encoder": encoder, "bin_num": 10, "bin_alpha": 1.0}}}
    torch.manual_seed(0)
    parts = {
        "model.token_emb.mlp": nn.Linear(1, 10),
        "model.token_emb.mlp2": nn.Linear(10, 10),
        "model.token_emb.emb": nn.Embedding(10, 16),
        "model.token_emb.emb_mask": nn.Embedding(1, 16),
        "model.pos_emb": nn.Embedding(len(SYMBOLS) + 3, 16),
        "model.encoder.transformer_encoder": torch_encoder(16, 2, 64, 3).layers,
        "model.encoder.norm": nn.LayerNorm(16),
        "model.decoder_embed": nn.Linear(16, 8),
    }
    content = {"cell": {"config": config, "state_dict": named_weights(parts)}}
    torch.save(content, tmp_path / "models.ckpt")
    return tmp_path


@pytest.fixture
def proteins() -> SimpleNamespace:
    """Fourteen proteins of different length; the fourth is empty."""
    generator = np.random.default_rng(0)
    lengths = [2, 4, 6, 0, *range(9, 39, 3)]
    sequences = ["".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), n)) for n in lengths]
    return SimpleNamespace(ids=[f"protein{n}" for n in range(14)], sequences=sequences)


@pytest.fixture
def tiny_esm2(tmp_path) -> Path:
    """A random ESM-2 of three layers from the library that its users load it with."""
    config = EsmConfig(
        vocab_size=33, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        pad_token_id=1, mask_token_id=32, position_embedding_type="rotary", token_dropout=True,
        emb_layer_norm_before=False,
    )  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    torch.manual_seed(0)
    weights = EsmModel(config, add_pooling_layer=False).state_dict()
    wide = {f"esm.{name}": w if "inv_freq" in name else 5 * w for name, w in weights.items() if w.is_floating_point()}
    save_file(wide, tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def tiny_panel(tmp_path, write_panel) -> Path:
    """A random checkpoint of the model in docs/add-a-model.md, whose loader comes with it."""
    return write_panel(tmp_path, SYMBOLS)


def torch_encoder(d_model: int, n_heads: int, d_mlp: int, n_layers: int) -> nn.TransformerEncoder:
    """Torch's own post-norm encoder, as the official networks use it."""
    layer = nn.TransformerEncoderLayer(d_model, n_heads, d_mlp, batch_first=True)
    encoder = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.3)  # wide, so that a wrong mask or a missed edit shows in the numbers
    return encoder


def named_weights(parts: dict[str, nn.Module]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": weight for prefix, part in parts.items() for name, weight in part.state_dict().items()}


def write_json_gz(path: Path, content: dict) -> None:
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
