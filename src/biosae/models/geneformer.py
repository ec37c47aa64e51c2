"""Geneformer: a BERT that reads a cell as its genes in rank order (Theodoris et al. 2023)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import pandas as pd
from torch import Tensor

from biosae.errors import ModelError, SettingError
from biosae.json_objects import SIZE

from .cell_adapter import CellAdapter
from .checkpoints import read_weights
from .dictionaries import read_json
from .folders import model_files
from .gene_match import GeneMatch, match_by_id
from .geneformer_genes import PUBLISHED, GeneDictionaries, read_gene_dictionaries
from .geneformer_network import EMBEDDINGS, EPS, RENAME, UNUSED, GeneformerNetwork
from .rank_value import rank_value_encode
from .settings import check_choice, check_limit
from .tokens import TokenBatch, TokenSequences
from .transformer import key_mask
from .weights import Initialisation, fuse_attention, renamed

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
    """Load a Geneformer of any size and version from its official files.

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
        If an argument is out of range.
    """
    init = Initialisation(random_init, seed)
    check_choice("pooling", pooling, POOLING)
    check_choice("site", site, SITES)
    files = ("config.json",), ("model.safetensors", "pytorch_model.bin")
    name, (config_file, weights_file) = model_files(model_dir, PUBLISHED, *files, patterns=DICTIONARY_PATTERNS)
    config = _read_config(config_file)
    genes = read_gene_dictionaries(config_file.parent, config["vocab_size"])
    weights = fuse_attention(renamed(read_weights(weights_file), RENAME, without=UNUSED))
    network = init.network(lambda: _network(config), weights, EMBEDDINGS, weights_file)
    model = Geneformer(name, network.to(device), genes, max_genes, pooling, site)
    model.fingerprint = init.fingerprint([weights_file], genes=genes.hash, site=site)
    model.pretrained_on = _pretraining_data(config_file.with_name("pretraining.json"))
    return model


def _pretraining_data(record: Path) -> list[str] | None:
    """Hashes of the pretraining data, for a checkpoint that records them (`scripts/pretrain_mini.py`)."""
    return list(read_json(record, {"corpus": {str: str}})["corpus"].values()) if record.exists() else None


class Geneformer(CellAdapter):
    """Cells as ranked genes."""

    def __init__(
        self,
        name: str,
        network: GeneformerNetwork,
        genes: GeneDictionaries,
        max_genes: int | None,
        pooling: str,
        site: str,
    ):
        d_model = network.gene_embedding.embedding_dim
        super().__init__(name, network, genes.vocabulary, d_model, token_names=genes.symbols, site=site)
        self._genes, self._pooling = genes, pooling
        # V1 reads genes alone, V2 puts them between <cls> and <eos>.
        self._first = tuple(genes.token[name] for name in ("<cls>",) if name in genes.token)
        self._last = tuple(genes.token[name] for name in ("<eos>",) if name in genes.token)
        if pooling == "cls" and not self._first:
            message = f"pooling cls needs a <cls> token, which {name} does not have; use mean"
            raise SettingError(message, argument="pooling")
        limit = network.rank_embedding.num_embeddings - len(self._first) - len(self._last)
        self._max_genes = check_limit("max_genes", max_genes, limit, name)

    def match_genes(self, var: pd.DataFrame) -> GeneMatch:
        return match_by_id(var, self._genes.token_of_name, self.name, self.n_genes)

    def tokenize(self, samples: anndata.AnnData) -> TokenSequences:
        match = self.match_genes(samples.var)
        total = samples.obs["n_counts"].to_numpy(float)
        median = self._genes.median
        return rank_value_encode(
            samples.X, total, match.token_of_column, median, self._max_genes, self._first, self._last
        )

    def run(self, batch: TokenBatch) -> Tensor:
        return self.network(batch.token, key_mask(batch))

    def pool(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        return hidden[:, 0] if self._pooling == "cls" else super().pool(hidden, batch)


def _network(config: dict[str, Any]) -> GeneformerNetwork:
    return GeneformerNetwork(**{ours: config[theirs] for ours, theirs in SHAPE.items()})


def _read_config(path: Path) -> dict[str, Any]:
    config = read_json(path, dict.fromkeys(SHAPE.values(), SIZE))
    expected = {"model_type": "bert", "hidden_act": "relu", "layer_norm_eps": EPS}
    for key, value in expected.items():
        if config.get(key) != value:
            raise ModelError(f"{path} has {key}={config.get(key)}, a Geneformer has {value}; is this its folder?")
    return config
