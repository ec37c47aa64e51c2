"""scGPT: cells as genes with binned expression values (Cui et al. 2024)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import torch.nn.functional as F
from torch import Tensor

from biosae.errors import ModelError
from biosae.json_objects import SIZE

from .cell_adapter import CellAdapter
from .checkpoints import Weights, read_weights
from .dictionaries import read_dictionary, read_json
from .folders import model_files
from .scgpt_network import ALL_BUT_EXPRESSION, HEAD_RENAME, HEADS, RENAME, BatchNorms, ExpressionHead, ScGPTNetwork
from .scgpt_tokens import ScGPTReading, batch_labels
from .settings import check_choice, check_limit
from .symbols import is_special
from .tokens import SpecialToken, TokenBatch, TokenSequences
from .transformer import key_mask
from .weights import Initialisation, build_frozen, load_weights, renamed

PUBLISHED = "https://github.com/bowang-lab/scGPT#pretrained-scgpt-model-zoo"
SPECIAL = ("<pad>", "<cls>", "<eoc>")
POOLING = ("mean", "cls")
SITES = ("residual", "mlp")
BINNING = ("middle", "random")

SHAPE = dict.fromkeys(("embsize", "nheads", "d_hid", "nlayers", "n_bins?", "max_seq_len?"), SIZE)


def load_scgpt(
    model_dir: str | Path,
    device: str = "cpu",
    max_genes: int | None = None,
    zero_genes: bool = False,
    cls_value: float | None = -2.0,
    binning: str = "middle",
    batch_key: str | None = None,
    pooling: str = "mean",
    site: str = "residual",
    random_init: str | bool = "false",
    seed: int = 0,
) -> ScGPT:
    """Load a scGPT, pretrained or fine-tuned, from its files: ``args.json``, ``vocab.json`` and ``best_model.pt``.

    Parameters
    ----------
    max_genes
        Genes kept per cell, drawn at random from its genes; by default as many as in training.
    zero_genes
        Read genes without a count as well, in bin 0.
    cls_value
        Value that comes with ``<cls>``: -2 in the official zero-shot code, 0 in its fine-tuning code;
        None leaves ``<cls>`` out.
    binning
        Bin of equal counts: the ``middle`` one of those they span, or a ``random`` one as in the
        official code, here fixed by seed, cell name and gene.
    batch_key
        Column of ``obs`` with the batch, for models fine-tuned with one batch norm per batch.
    pooling
        Sample embedding: ``mean`` over genes, or ``cls``, the official one (of unit length).
    site
        ``residual`` stream after a layer (its second layer norm), or the output of the layer's ``mlp``.
    random_init, seed
        ``false``, ``blocks`` (trained embeddings, random layers) or ``all``; the seed of all draws.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or files do not belong together.
    SettingError
        If a setting is out of range.
    """
    init = Initialisation(random_init, seed)
    check_choice("pooling", pooling, POOLING)
    check_choice("site", site, SITES)
    files = ("args.json",), ("vocab.json",), ("model.safetensors", "best_model.pt")
    name, (args_file, vocabulary_file, weights_file) = model_files(model_dir, PUBLISHED, *files)
    args, token = _read_args(args_file), _read_vocabulary(vocabulary_file)
    read = read_weights(weights_file)
    weights = renamed(read, RENAME, without=HEADS)
    make = partial(_network, args, weights, len(token))
    network = init.network(make, weights, ("gene_", "value_", "batch_norms."), weights_file)
    reading = ScGPTReading(
        n_bins=args["n_bins"],
        max_genes=check_limit("max_genes", max_genes, args["max_seq_len"] - (cls_value is not None), name),
        zero_genes=zero_genes,
        cls=None if cls_value is None else SpecialToken(token["<cls>"], cls_value),
        random_bins=check_choice("binning", binning, BINNING) == "random",
        seed=seed,
    )
    head = _expression_head(read, network, weights_file) if init.is_trained else None
    model = ScGPT(name, network.to(device), token, reading, batch_key, pooling, site, head and head.to(device))
    model.fingerprint = init.fingerprint([weights_file], vocabulary=token, site=site)
    return model


class ScGPT(CellAdapter):
    """Cells as a set of genes with binned values."""

    def __init__(
        self,
        name: str,
        network: ScGPTNetwork,
        token_of_gene: dict[str, int],
        reading: ScGPTReading,
        batch_key: str | None,
        pooling: str,
        site: str,
        head: ExpressionHead | None = None,
    ):
        vocabulary = sorted(token_of_gene, key=token_of_gene.__getitem__)
        super().__init__(name, network, vocabulary, network.gene_embedding.embedding_dim, site=site)
        self._head, self._reading, self._batch_key, self._pooling = head, reading, batch_key, pooling
        self.predicts = None if head is None else f"bins, 0 to {reading.n_bins - 1}"
        self._n_batches = 0 if network.batch_norms is None else len(network.batch_norms.norms)
        # In the order of the file: of two spellings of a symbol the first counts.
        self._token_of_gene = {gene: n for gene, n in token_of_gene.items() if not is_special(gene)}

    def tokenize(self, samples: anndata.AnnData) -> TokenSequences:
        labels = batch_labels(samples.obs, self._batch_key, self._n_batches)
        token_of_column = self.match_genes(samples.var).token_of_column
        return replace(self._reading.tokens(samples, token_of_column, len(self.vocabulary)), batch_label=labels)

    def run(self, batch: TokenBatch) -> Tensor:
        return self.network(batch.token, batch.value, key_mask(batch), batch.batch_label)

    def expression(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        return self._head(hidden.float(), batch.batch_label)

    def pool(self, hidden: Tensor, batch: TokenBatch) -> Tensor:
        return F.normalize(hidden[:, 0]) if self._pooling == "cls" else super().pool(hidden, batch)


def _read_args(path: Path) -> dict[str, Any]:
    args = read_json(path, SHAPE)
    expected = {"input_style": "binned", "input_emb_style": "continuous"}
    for key, value in expected.items():
        if args.get(key, value) != value:
            raise ModelError(f"{path} has {key}={args[key]}; only {value} is read")
    return {"n_bins": 51, "max_seq_len": 1200} | args


def _read_vocabulary(path: Path) -> dict[str, int]:
    """``{token: id}`` with the special tokens, which official code appends when the file lacks them."""
    token = read_dictionary(path)
    for special in SPECIAL:
        token.setdefault(special, len(token))
    if any(type(n) is not int for n in token.values()) or sorted(token.values()) != list(range(len(token))):
        raise ModelError(f"{path} must number its {len(token):,} tokens from 0 without gaps; download it again")
    return token


def _network(args: dict[str, Any], weights: Weights, n_vocabulary: int) -> ScGPTNetwork:
    d_model, norm = args["embsize"], "batch_norms.norms."
    n_batches = len({name.split(".")[2] for name in weights if name.startswith(norm)})
    batch_norms = BatchNorms(d_model, n_batches, affine=f"{norm}0.weight" in weights) if n_batches else None
    return ScGPTNetwork(n_vocabulary, d_model, args["nheads"], args["d_hid"], args["nlayers"], batch_norms)


def _expression_head(read: Weights, network: ScGPTNetwork, path: Path) -> ExpressionHead | None:
    """Load the head that predicts expression; None if the file lacks it, or if only the head reads batches."""
    weights = renamed(read, HEAD_RENAME, without=ALL_BUT_EXPRESSION)
    if "mlp.0.weight" not in weights:
        return None
    d_model = network.gene_embedding.embedding_dim
    reads_batch = weights["mlp.0.weight"].shape[1] == 2 * d_model
    if not reads_batch:
        weights = {name: weight for name, weight in weights.items() if name.startswith("mlp.")}
    elif network.batch_norms is None:
        return None
    n_batches = len(network.batch_norms.norms) if reads_batch else 0
    head = build_frozen(lambda: ExpressionHead(d_model, n_batches), empty=True)
    load_weights(head, weights, (), "false", path)
    return head
