"""Geneformer: a BERT that reads a cell as its genes in rank order (Theodoris et al. 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import pandas as pd
from torch import Tensor, nn

from biosae.errors import ModelError, SettingError

from .base import ModelAdapter
from .checkpoints import read_weights
from .dictionaries import read_json
from .folders import model_name, require_files, resolve_folder
from .gene_match import GeneMatch, match_by_id
from .geneformer_genes import PUBLISHED, GeneDictionaries, read_gene_dictionaries
from .geneformer_network import EMBEDDINGS, EPS, RENAME, UNUSED, GeneformerNetwork
from .rank_value import rank_value_encode
from .settings import check_choice, check_limit
from .tokens import TokenBatch, TokenSequences
from .transformer import key_mask, site_module
from .weights import build_frozen, check_random_init, fingerprint, fuse_attention, load_weights, renamed

POOLING = ("mean", "cls")
SITES = ("residual", "mlp")
SHAPE = {
    "n_vocabulary": "vocab_size",
    "n_positions": "max_position_embeddings",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "d_mlp": "intermediate_size",
    "n_layers": "num_hidden_layers",
}
DICTIONARY_PATTERNS = ("geneformer/*.pkl", "geneformer/gene_dictionaries_30m/*.pkl")


def load_geneformer(
    model_dir: str | Path,
    device: str = "cpu",
    max_genes: int | None = None,
    pooling: str = "mean",
    site: str = "residual",
    random_init: str | bool = "false",
    seed: int = 0,
) -> Geneformer:
    """A Geneformer of any size and version from its official files.

    Parameters
    ----------
    model_dir
        Folder with ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``; the gene
        dictionaries lie in it or where the official repository has them (``../geneformer``).
    max_genes
        Genes kept per cell; by default as many as the model has positions for.
    pooling
        Sample embedding: ``mean`` over genes, or ``cls`` (V2).
    site
        ``residual`` stream after a layer (its second layer norm), or the output of the layer's ``mlp``.
    random_init, seed
        ``false``, ``blocks`` (trained embeddings, random layers) or ``all``, and the seed of it.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or files do not belong together.
    SettingError
        If ``max_genes`` or ``random_init`` is out of range.
    """
    init = check_random_init(random_init)
    check_choice("scfm.pooling", pooling, POOLING)
    check_choice("scfm.site", site, SITES)
    folder = resolve_folder(model_dir, PUBLISHED, DICTIONARY_PATTERNS)
    files = ("config.json",), ("model.safetensors", "pytorch_model.bin")
    config_file, weights_file = require_files(folder, PUBLISHED, *files)
    config = _read_config(config_file)
    genes = read_gene_dictionaries(folder, config["vocab_size"])
    network = build_frozen(lambda: _network(config), seed, empty=init == "false")
    weights = fuse_attention(renamed(read_weights(weights_file), RENAME, without=UNUSED))
    load_weights(network, weights, EMBEDDINGS, init, weights_file)
    model = Geneformer(model_name(model_dir, folder), network.to(device), genes, max_genes, pooling, site)
    model.fingerprint = fingerprint([weights_file], init, seed, genes=genes.hash, site=site)
    model.pretrained_on = _pretraining_data(folder / "pretraining.json")
    return model


def _pretraining_data(record: Path) -> list[str] | None:
    """Hashes of the pretraining data, for a checkpoint that records them (`scripts/pretrain_mini.py`)."""
    return list(read_json(record)["corpus"].values()) if record.exists() else None


class Geneformer(ModelAdapter):
    """Cells as ranked genes."""

    pad_token = 0

    def __init__(
        self,
        name: str,
        network: GeneformerNetwork,
        genes: GeneDictionaries,
        max_genes: int | None,
        pooling: str,
        site: str,
    ):
        self.name, self.network = name, network
        self.vocabulary, self.token_names = genes.vocabulary, genes.symbols
        self.d_model, self.n_layers = network.gene_embedding.embedding_dim, len(network.layers)
        self._genes, self._pooling, self._site = genes, pooling, site
        # V1 reads genes alone, V2 puts them between <cls> and <eos>.
        self._first = tuple(genes.token[name] for name in ("<cls>",) if name in genes.token)
        self._last = tuple(genes.token[name] for name in ("<eos>",) if name in genes.token)
        if pooling == "cls" and not self._first:
            raise SettingError(f"scfm.pooling=cls needs a <cls> token, which {name} does not have; use mean")
        limit = network.rank_embedding.num_embeddings - len(self._first) - len(self._last)
        self._max_genes = check_limit("scfm.max_genes", max_genes, limit, name)

    def match_genes(self, var: pd.DataFrame) -> GeneMatch:
        """Which token each gene of a data set is; raises ModelError when hardly any is known."""
        return match_by_id(var, self._genes.token_of_name, self.name, self._genes.n_genes)

    def tokenize(self, samples: anndata.AnnData) -> TokenSequences:
        match = self.match_genes(samples.var)
        total = samples.obs["n_counts"].to_numpy(float)
        median = self._genes.median
        return rank_value_encode(
            samples.X, total, match.token_of_column, median, self._max_genes, self._first, self._last
        )

    def site(self, layer: int) -> nn.Module:
        return site_module(self.network, self._site, layer)

    def run(self, batch: TokenBatch) -> Tensor:
        return self.network(batch.token, key_mask(batch))

    def pool(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        return hidden[:, 0] if self._pooling == "cls" else super().pool(hidden, batch)


def _network(config: dict[str, Any]) -> GeneformerNetwork:
    return GeneformerNetwork(**{ours: config[theirs] for ours, theirs in SHAPE.items()})


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path, required=SHAPE.values())
    expected = {"model_type": "bert", "hidden_act": "relu", "layer_norm_eps": EPS}
    for key, value in expected.items():
        if config.get(key) != value:
            raise ModelError(f"{path} has {key}={config.get(key)}, a Geneformer has {value}; is this its folder?")
    return config
