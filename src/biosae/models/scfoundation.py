"""scFoundation: cells as genes with continuous values and two tokens for read depth (Hao et al. 2024)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
import torch
from torch import Tensor

from biosae.errors import ModelError, SettingError
from biosae.json_objects import SIZE

from .cell_adapter import CellAdapter
from .checkpoints import Weights, read_checkpoint, unwrapped
from .dictionaries import check_settings
from .folders import model_files
from .scfoundation_network import DECODER, RENAME, ScFoundationNetwork
from .scfoundation_tokens import INPUTS, DepthTarget, ScFoundationReading
from .settings import check_choice
from .tokens import TokenBatch, TokenSequences
from .transformer import key_mask
from .weights import Initialisation, renamed

PUBLISHED = "https://github.com/biomap-research/scFoundation/tree/main/model"
GENE_LIST = "OS_scRNA_gene_index.19264.tsv"
VERSIONS = ("cell", "gene", "rde")
POOLING = ("mean", "max", "all")
SITES = ("residual", "mlp", "norm")


def load_scfoundation(
    model_dir: str | Path,
    device: str = "cpu",
    version: str = "cell",
    input: str = "counts",
    target_sum: float = 10_000,
    target_depth: str = "t4",
    pooling: str = "mean",
    site: str = "residual",
    random_init: str | bool = "false",
    seed: int = 0,
) -> ScFoundation:
    """Load the encoder of scFoundation from ``models.ckpt`` and the published gene list.

    Parameters
    ----------
    version
        Which of the three models in the file: ``cell`` (embeddings), ``rde`` (read-depth
        enhancement) or ``gene``.
    input
        How values and depth come from counts: ``counts`` as the official script reads cells, ``normalized`` as it
        reads files that were normalised over all their genes, ``bulk`` as it reads bulk samples.
    target_sum
        Counts that a cell is scaled to; the official script takes the median of the samples for ``bulk``.
    target_depth
        Value of the target token T as in the official script: ``t<x>`` is x itself, ``f<x>`` is
        log10(total * x), ``a<x>`` is log10(total) + x; not read for ``bulk``.
    pooling
        Sample embedding: ``mean`` over genes, ``max`` over all tokens, or ``all``, the official one
        of ``4 * d_model`` (S, T, maximum and mean over genes).
    site
        ``residual`` stream after a layer (its second layer norm), output of the layer's ``mlp``, or
        the final ``norm`` (last layer only).
    random_init, seed
        ``false``, ``blocks`` (trained embeddings, random layers) or ``all``, and the seed of it.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or files do not belong together.
    SettingError
        If a setting is out of range.
    """
    init = Initialisation(random_init, seed)
    check_choice("version", version, VERSIONS)
    check_choice("pooling", pooling, POOLING)
    check_choice("site", site, SITES)
    check_choice("input", input, INPUTS)
    if not target_sum > 0:
        raise SettingError(f"target_sum must be above 0, got {target_sum}", argument="target_sum")
    reading = ScFoundationReading(input, target_sum, DepthTarget(target_depth))
    files = ("models.safetensors", "models.ckpt"), (GENE_LIST,)
    name, (weights_file, genes_file) = model_files(model_dir, PUBLISHED, *files)
    genes = _read_gene_list(genes_file)
    weights, config = _one_version(*read_checkpoint(weights_file), version, weights_file)
    weights = renamed(weights, RENAME, without=DECODER)
    make = partial(_network, config, len(genes) + 3, weights_file)
    network = init.network(make, weights, ("gene_embedding.", "value_embedding."), weights_file)
    model = ScFoundation(f"{name} ({version})", network.to(device), genes, reading, pooling, site)
    model.fingerprint = init.fingerprint([weights_file], version=version, genes=genes, site=site)
    return model


class ScFoundation(CellAdapter):
    """Cells as a set of expressed genes, followed by T (wanted read depth) and S (own read depth)."""

    def __init__(
        self,
        name: str,
        network: ScFoundationNetwork,
        genes: list[str],
        reading: ScFoundationReading,
        pooling: str,
        site: str,
    ):
        vocabulary = [*genes, "<T>", "<S>", "<pad>"]
        super().__init__(name, network, vocabulary, network.gene_embedding.embedding_dim, site=site)
        self._n_genes, self._reading, self._pooling = len(genes), reading, pooling

    def tokenize(self, samples: anndata.AnnData) -> TokenSequences:
        token_of_column = self.match_genes(samples.var).token_of_column
        return self._reading.tokens(samples.X, samples.obs["n_counts"].to_numpy(float), token_of_column, self._n_genes)

    def run(self, batch: TokenBatch) -> Tensor:
        return self.network(batch.token, batch.value, key_mask(batch))

    def pool(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        if self._pooling == "mean":
            return super().pool(hidden, batch)
        if self._pooling == "max":
            return _max(hidden, batch.mask)
        depth = [hidden[batch.token == self._n_genes + offset] for offset in (1, 0)]  # S, T: (n, d_model) each
        return torch.cat([*depth, _max(hidden, batch.content), super().pool(hidden, batch)], dim=1)


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)


def _read_gene_list(path: Path) -> list[str]:
    try:
        table = pd.read_csv(path, sep="\t").sort_values("index")
        genes = table["gene_name"].astype(str).tolist()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} must have the columns gene_name and index: {error}") from error
    if table["index"].tolist() != list(range(len(genes))):
        raise ModelError(f"{path} must number its genes from 0 without gaps; download it again from {PUBLISHED}")
    return genes


def _one_version(weights: Weights, configs: dict[str, Any], version: str, path: Path) -> tuple[Weights, dict[str, Any]]:
    prefix = f"{version}.state_dict."
    own = {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}
    if not own:
        raise ModelError(f"{path} has no model {version}; it has {', '.join(configs) or 'none'}")
    return unwrapped(own), configs[version]["config"]


def _network(config: dict[str, Any], n_vocabulary: int, path: Path) -> ScFoundationNetwork:
    try:
        settings = config["model_config"]["mae_autobin"]
        encoder, n_bins, alpha = settings["encoder"], settings["bin_num"], settings["bin_alpha"]
        shape = encoder["hidden_dim"], encoder["heads"], encoder["depth"]
        kind = encoder["module_type"], encoder["norm_first"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"{path} lacks the setting {error} of a scFoundation encoder; download it again") from error
    names = ("hidden_dim", "heads", "depth", "bin_num", "bin_alpha")
    expected = dict.fromkeys(names[:4], SIZE) | {"bin_alpha": float}
    check_settings(dict(zip(names, (*shape, n_bins, alpha), strict=True)), expected, path)
    if kind != ("transformer", False):
        raise ModelError(f"{path} has an encoder of another kind: {encoder}")
    return ScFoundationNetwork(n_vocabulary, *shape, n_bins, alpha)
