"""Pretrain geneformer-mini: masked gene modelling on rank-value encodings of public cells.

    python scripts/pretrain_mini.py --data DATA --out checkpoints/geneformer-mini

Writes a checkpoint folder in the official Geneformer layout (config.json, model.safetensors, token
dictionary, gene medians) and a float16 snapshot of the weights at steps along the way. The labelled
PBMC 3k cells of the demo are never read here: they are the external test of the model card
(`scripts/evaluate_mini.py`).

DATA is a folder with these files, none of which is in the repository. Cells are AnnData: raw counts in ``X``,
``gene_ids`` (Ensembl) and ``gene_symbol`` in ``var``, ``n_counts`` in ``obs``. ``pretraining.json`` beside the shipped
weights has the hashes of those that were read.

- ``sc/pbmc_frozen_donor_a.h5ad``: Frozen PBMCs (Donor A), 10x Genomics, 2,896 cells (counts of JEFworks/MUDAN)
- ``sc/kang_ifnb_pbmc_2k.h5ad``: GSE96583 (Kang et al. 2018), 2,000 cells (counts of immunogenomics/harmony)
- ``sc/kang_ifnb_labelled_hvg7k.h5ad``: other cells of GSE96583, 1,975 x 6,998 genes (theislab/scgen)
- ``sc/pbmc_cite_400.h5ad``: 5k and 10k PBMCs with surface proteins, 10x Genomics, 200 each (scverse/scvi-tools)
- ``sc/scmixology_5lines_5batches.h5ad``: GSE118767 (Tian et al. 2019), 1,021 cells (LuyiTian/sc_mixology)
- ``genes/geneformer_NAME_gc104M.json.gz``: the dictionaries of ctheodoris/Geneformer on Hugging Face as JSON, for NAME
  token_dictionary, gene_median_dictionary, ensembl_mapping_dict and gene_name_id_dict
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from scipy import sparse
from transformers import BertConfig, BertForMaskedLM

from biosae.artefacts import content_hash
from biosae.models.rank_value import rank_value_encode
from biosae.models.tokens import TokenBatch, TokenSequences, pad_batch

logger = logging.getLogger("pretrain_mini")

CORPUS = (
    "pbmc_frozen_donor_a",
    "kang_ifnb_pbmc_2k",
    "kang_ifnb_labelled_hvg7k",
    "pbmc_cite_400",
    "scmixology_5lines_5batches",
)
SPECIAL = {"<pad>": 0, "<mask>": 1}
MASKED_SHARE = 0.25  # above BERT's 0.15: more predictions a pass (Wettig et al. 2023)
SNAPSHOTS = (0.0, 0.03, 0.1, 0.3)  # of the run; 1.0 is the model itself


@dataclass(frozen=True)
class Corpus:
    """Counts over the vocabulary, one row a cell, with the size of each cell's whole library."""

    counts: sparse.csr_matrix
    total: np.ndarray
    median: np.ndarray
    vocabulary: dict[str, int]
    held_out: np.ndarray


def main() -> None:
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    corpus = read_corpus(args.data, args.min_cells, args.seed)
    logger.info("%d cells, %d genes, %d held out", *corpus.counts.shape, corpus.held_out.sum())
    network = new_network(len(corpus.median), args)
    args.out.mkdir(parents=True, exist_ok=True)
    write_dictionaries(args.out, args.data, corpus)
    settings = {name: value for name, value in vars(args).items() if name not in ("data", "out")}
    settings["corpus"] = {name: content_hash(args.data / "sc" / f"{name}.h5ad") for name in CORPUS}
    (args.out / "pretraining.json").write_text(json.dumps(settings, indent=2) + "\n")
    train(network, corpus, args)
    write_weights(network, args.out / "model.safetensors")
    network.config.save_pretrained(args.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the files named above")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--cells-per-step", type=int, default=16)
    parser.add_argument("--max-genes", type=int, default=256)
    parser.add_argument(
        "--min-cells", type=int, default=200, help="a gene needs this many cells to enter the vocabulary"
    )
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def read_gz(path: Path) -> dict:
    with gzip.open(path, "rt") as file:
        return json.load(file)


def read_corpus(data: Path, min_cells: int, seed: int) -> Corpus:
    genes = data / "genes"
    known = read_gz(genes / "geneformer_token_dictionary_gc104M.json.gz")
    mapping = read_gz(genes / "geneformer_ensembl_mapping_dict_gc104M.json.gz")
    median = read_gz(genes / "geneformer_gene_median_dictionary_gc104M.json.gz")
    gene_row = {gene: row for row, gene in enumerate(g for g in known if g.startswith("ENSG"))}
    blocks, totals = [], []
    for name in CORPUS:
        cells = anndata.read_h5ad(data / "sc" / f"{name}.h5ad")
        names = zip(cells.var["gene_ids"], cells.var["gene_symbol"], strict=True)
        row = np.array([gene_row.get(mapping.get((id or symbol).upper()), -1) for id, symbol in names])
        column = np.flatnonzero(row >= 0)
        place = sparse.csr_matrix((np.ones(len(column)), (column, row[column])), shape=(cells.n_vars, len(gene_row)))
        blocks.append((cells.X @ place).tocsr())
        totals.append(cells.obs["n_counts"].to_numpy(float))
    counts = sparse.vstack(blocks).tocsr()
    kept = np.flatnonzero(np.bincount(counts.indices, minlength=counts.shape[1]) >= min_cells)
    ids = np.array(list(gene_row))[kept]
    vocabulary = SPECIAL | {str(id): n for n, id in enumerate(ids, start=len(SPECIAL))}
    held_out = np.random.default_rng(seed).random(counts.shape[0]) < 0.05
    medians = np.array([1.0] * len(SPECIAL) + [median[id] for id in ids])
    return Corpus(counts[:, kept], np.concatenate(totals), medians, vocabulary, held_out)


def new_network(n_vocabulary: int, args: argparse.Namespace) -> BertForMaskedLM:
    torch.manual_seed(args.seed)
    return BertForMaskedLM(
        BertConfig(
            vocab_size=n_vocabulary,
            hidden_size=args.hidden,
            num_hidden_layers=args.layers,
            num_attention_heads=4,
            intermediate_size=2 * args.hidden,
            hidden_act="relu",
            hidden_dropout_prob=0.02,
            attention_probs_dropout_prob=0.02,
            max_position_embeddings=args.max_genes,
            layer_norm_eps=1e-12,
            pad_token_id=SPECIAL["<pad>"],
        )
    )


def encode(corpus: Corpus, rows: np.ndarray, counts: sparse.csr_matrix, max_genes: int) -> TokenSequences:
    tokens = np.arange(counts.shape[1]) + len(SPECIAL)
    return rank_value_encode(counts, corpus.total[rows], tokens, corpus.median, max_genes)


def thinned(counts: sparse.csr_matrix, generator: np.random.Generator) -> sparse.csr_matrix:
    """Counts as if every cell had been sequenced to a random 50 to 100 % of its depth."""
    share = np.repeat(generator.uniform(0.5, 1.0, counts.shape[0]), np.diff(counts.indptr))
    data = generator.binomial(counts.data.astype(np.int64), share)
    thin = sparse.csr_matrix((data.astype(np.float64), counts.indices, counts.indptr), shape=counts.shape)
    thin.eliminate_zeros()
    return thin


def epochs(corpus: Corpus, args: argparse.Namespace):
    generator = np.random.default_rng(args.seed)
    rows = np.flatnonzero(~corpus.held_out)
    while True:
        sequences = encode(corpus, rows, thinned(corpus.counts[rows], generator), args.max_genes)
        order = generator.permutation(np.flatnonzero(sequences.lengths >= 8))
        for start in range(0, len(order) - args.cells_per_step, args.cells_per_step):
            yield pad_batch(sequences, order[start : start + args.cells_per_step], SPECIAL["<pad>"])


def masked(batch: TokenBatch, n_vocabulary: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and the positions to predict: of those 80 % read <mask>, 10 % a random gene, 10 % themselves (BERT)."""
    draw = torch.rand(batch.token.shape, generator=generator)
    chosen = batch.mask & (draw < MASKED_SHARE)
    inputs = torch.where(chosen & (draw < 0.8 * MASKED_SHARE), SPECIAL["<mask>"], batch.token)
    random_gene = torch.randint(len(SPECIAL), n_vocabulary, batch.token.shape, generator=generator)
    return torch.where(chosen & (draw >= 0.9 * MASKED_SHARE), random_gene, inputs), chosen


def train(network: BertForMaskedLM, corpus: Corpus, args: argparse.Namespace) -> None:
    generator = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=0.01, betas=(0.9, 0.98))
    warmup = max(1, args.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warmup, max(0.0, (args.steps - s) / (args.steps - warmup)))
    )
    snapshots = {round(share * args.steps) for share in SNAPSHOTS}
    batches, started, mean_loss = epochs(corpus, args), time.monotonic(), None
    network.train()
    for step in range(args.steps):
        if step in snapshots:
            write_weights(network, args.out / "snapshots" / f"step-{step:05d}.safetensors")
        batch = next(batches)
        inputs, chosen = masked(batch, len(corpus.median), generator)
        hidden = network.bert(input_ids=inputs, attention_mask=batch.mask.long()).last_hidden_state
        loss = F.cross_entropy(network.cls(hidden[chosen]), batch.token[chosen])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean_loss = loss.item() if mean_loss is None else 0.98 * mean_loss + 0.02 * loss.item()
        if step % 50 == 0:
            logger.info("step %d loss %.3f %.0f s", step, mean_loss, time.monotonic() - started)


def write_weights(network: BertForMaskedLM, path: Path) -> None:
    """The weights in float16, without the tied output matrix (as the published files)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {
        n: t.detach().half().contiguous()
        for n, t in network.state_dict().items()
        if "cls.predictions.decoder" not in n and "position_ids" not in n
    }
    save_file(kept, path, metadata={"format": "pt"})


def write_dictionaries(out: Path, data: Path, corpus: Corpus) -> None:
    """Dictionaries under their official names, as JSON instead of pickle."""
    genes = set(corpus.vocabulary) - set(SPECIAL)
    median = {g: corpus.median[n] for g, n in corpus.vocabulary.items() if g in genes}
    mapping = read_gz(data / "genes" / "geneformer_ensembl_mapping_dict_gc104M.json.gz")
    names = {name: id for name, id in mapping.items() if id in genes}
    symbols = read_gz(data / "genes" / "geneformer_gene_name_id_dict_gc104M.json.gz")
    symbols = {symbol: id for symbol, id in symbols.items() if id in genes}
    for name, table in {
        "token_dictionary": corpus.vocabulary,
        "gene_median_dictionary": median,
        "ensembl_mapping_dict": names,
        "gene_name_id_dict": symbols,
    }.items():
        with gzip.GzipFile(out / f"{name}.json.gz", "wb", mtime=0) as file:
            file.write(json.dumps(table).encode())


if __name__ == "__main__":
    main()
