"""Random checkpoints of published size in the official formats, for measuring without downloading weights."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

Shapes = dict[str, tuple[int, ...]]
GENEFORMERS = {  # layers, width, heads, MLP, corpus, positions
    "geneformer-v1-10M": (6, 256, 4, 512, "gc30M", 2048),
    "geneformer-v2-104M": (12, 768, 12, 3072, "gc104M", 4096),
    "geneformer-v2-151M": (20, 896, 14, 1792, "gc104M", 4096),
    "geneformer-v2-316M": (18, 1152, 18, 4608, "gc104M", 4096),
}


def random_tensors(shapes: Shapes, seed: int = 0) -> dict[str, torch.Tensor]:
    """Normal weights of standard deviation 0.02; norms start at 1, biases at 0."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if name.endswith("bias"):
            return torch.zeros(shape)
        return torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * 0.02

    return {name: tensor(name, shape) for name, shape in shapes.items()}


def linear(name: str, d_in: int, d_out: int) -> Shapes:
    return {f"{name}.weight": (d_out, d_in), f"{name}.bias": (d_out,)}


def norm(name: str, d: int) -> Shapes:
    return {f"{name}.weight": (d,), f"{name}.bias": (d,)}


def torch_layer(prefix: str, d: int, d_mlp: int) -> Shapes:
    """The names of `torch.nn.TransformerEncoderLayer`."""
    attention = {f"{prefix}.self_attn.in_proj_weight": (3 * d, d), f"{prefix}.self_attn.in_proj_bias": (3 * d,)}
    mlp = linear(f"{prefix}.linear1", d, d_mlp) | linear(f"{prefix}.linear2", d_mlp, d)
    norms = norm(f"{prefix}.norm1", d) | norm(f"{prefix}.norm2", d)
    return attention | linear(f"{prefix}.self_attn.out_proj", d, d) | mlp | norms


def write_scgpt(folder: Path, genes: Path) -> None:
    """12 x 512, 8 heads, 60,697 tokens: the whole-human model."""
    d, d_mlp, n_layers = 512, 512, 12
    vocabulary = json.loads((genes / "scgpt_human_vocab.json").read_text())
    args = {"embsize": d, "nheads": 8, "d_hid": d_mlp, "nlayers": n_layers, "n_bins": 51, "max_seq_len": 1200}
    shapes = {"encoder.embedding.weight": (len(vocabulary), d)} | norm("encoder.enc_norm", d)
    shapes |= linear("value_encoder.linear1", 1, d) | linear("value_encoder.linear2", d, d)
    shapes |= norm("value_encoder.norm", d)
    for layer in range(n_layers):
        shapes |= torch_layer(f"transformer_encoder.layers.{layer}", d, d_mlp)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "args.json").write_text(json.dumps(args))
    torch.save(random_tensors(shapes), folder / "best_model.pt")


def write_geneformer(folder: Path, genes: Path, name: str) -> None:
    n_layers, d, n_heads, d_mlp, corpus, positions = GENEFORMERS[name]
    for table in ("token_dictionary", "gene_median_dictionary", "ensembl_mapping_dict", "gene_name_id_dict"):
        shutil.copy(genes / f"geneformer_{table}_{corpus}.json.gz", folder / f"{table}_{corpus}.json.gz")
    token = json.loads(gzip.decompress((folder / f"token_dictionary_{corpus}.json.gz").read_bytes()))
    config = {
        "model_type": "bert", "hidden_act": "relu", "hidden_size": d, "intermediate_size": d_mlp, "pad_token_id": 0,
        "layer_norm_eps": 1e-12, "max_position_embeddings": positions, "num_attention_heads": n_heads,
        "num_hidden_layers": n_layers, "type_vocab_size": 2, "vocab_size": len(token),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    embeddings = {"word": len(token), "position": positions, "token_type": 2}
    shapes = {f"bert.embeddings.{kind}_embeddings.weight": (n, d) for kind, n in embeddings.items()}
    shapes |= norm("bert.embeddings.LayerNorm", d)
    for layer in range(n_layers):
        prefix = f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            shapes |= linear(f"{prefix}.attention.self.{part}", d, d)
        shapes |= linear(f"{prefix}.attention.output.dense", d, d) | norm(f"{prefix}.attention.output.LayerNorm", d)
        shapes |= linear(f"{prefix}.intermediate.dense", d, d_mlp) | linear(f"{prefix}.output.dense", d_mlp, d)
        shapes |= norm(f"{prefix}.output.LayerNorm", d)
    save_file(random_tensors(shapes), folder / "model.safetensors")


def write_scfoundation(folder: Path, genes: Path) -> None:
    """The encoder of the cell model, 12 x 768; the published file holds three models and their decoders."""
    d, n_layers, n_bins, n_tokens = 768, 12, 100, 19267
    shutil.copy(genes / "scfoundation_OS_scRNA_gene_index.19264.tsv", folder / "OS_scRNA_gene_index.19264.tsv")
    encoder = {"hidden_dim": d, "depth": n_layers, "heads": 12, "module_type": "transformer", "norm_first": False}
    config = {"model_config": {"mae_autobin": {"encoder": encoder, "bin_num": n_bins, "bin_alpha": 1.0}}}
    shapes = linear("model.token_emb.mlp", 1, n_bins) | linear("model.token_emb.mlp2", n_bins, n_bins)
    shapes |= {"model.token_emb.emb.weight": (n_bins, d), "model.pos_emb.weight": (n_tokens, d)}
    shapes |= norm("model.encoder.norm", d)
    for layer in range(n_layers):
        shapes |= torch_layer(f"model.encoder.transformer_encoder.{layer}", d, 4 * d)
    torch.save({"cell": {"config": config, "state_dict": random_tensors(shapes)}}, folder / "models.ckpt")


def write_esm2(folder: Path) -> None:
    """33 x 1280: the 650M model, as Hugging Face publishes it."""
    d, n_layers, n_heads = 1280, 33, 20
    config = {
        "model_type": "esm", "position_embedding_type": "rotary", "emb_layer_norm_before": False, "hidden_size": d,
        "num_attention_heads": n_heads, "num_hidden_layers": n_layers, "intermediate_size": 4 * d,
        "token_dropout": True, "mask_token_id": 32,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {"esm.embeddings.word_embeddings.weight": (33, d)} | norm("esm.encoder.emb_layer_norm_after", d)
    for layer in range(n_layers):
        prefix = f"esm.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            shapes |= linear(f"{prefix}.attention.self.{part}", d, d)
        shapes |= linear(f"{prefix}.attention.output.dense", d, d) | norm(f"{prefix}.attention.LayerNorm", d)
        shapes |= norm(f"{prefix}.LayerNorm", d)
        shapes |= linear(f"{prefix}.intermediate.dense", d, 4 * d) | linear(f"{prefix}.output.dense", 4 * d, d)
    tensors = random_tensors(shapes)
    d_head = d // n_heads
    frequencies = (1 / 10_000 ** (torch.arange(0, d_head, 2).float() / d_head)).half().float()
    names = [f"esm.encoder.layer.{n}.attention.self.rotary_embeddings.inv_freq" for n in range(n_layers)]
    save_file(tensors | {name: frequencies.clone() for name in names}, folder / "model.safetensors")


def write_checkpoint(name: str, folder: Path, genes: Path) -> None:
    """The checkpoint of a model by name; ``genes`` holds the published vocabularies and dictionaries."""
    folder.mkdir(parents=True, exist_ok=True)
    if name in GENEFORMERS:
        write_geneformer(folder, genes, name)
    elif name == "esm2-650M":
        write_esm2(folder)
    else:
        {"scgpt": write_scgpt, "scfoundation": write_scfoundation}[name](folder, genes)
