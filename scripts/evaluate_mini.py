"""Measure geneformer-mini on cells it has never seen, and write the numbers into its model card.

    python scripts/evaluate_mini.py --data DATA --checkpoint src/biosae/models/geneformer_mini

Two sets of cells: the 5 % of the pretraining corpora that were held out, and PBMC 3k, a donor and an
experiment that pretraining never read. Snapshots of the training run give the same numbers over training.

DATA holds the files that `scripts/pretrain_mini.py` names and ``sc/pbmc3k.h5ad``, in the same form: "3k PBMCs from a
Healthy Donor" of 10x Genomics with all 32,738 genes, and in ``obs["cell_type"]`` the cell types of the Seurat tutorial,
"unlabelled" where it gives none.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pretrain_mini import SPECIAL, Corpus, encode, masked, new_network, read_corpus
from safetensors.torch import load_file
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from transformers import BertForMaskedLM

from biosae.models.tokens import TokenSequences, length_buckets, pad_batch

START, END = "<!-- measured -->", "<!-- end of measured -->"


def main() -> None:
    args = arguments()
    settings = argparse.Namespace(**json.loads((args.checkpoint / "pretraining.json").read_text()))
    corpus = read_corpus(args.data, settings.min_cells, settings.seed)
    pbmc, labels, log_counts = read_pbmc(args.data, corpus, settings.max_genes)
    rows = np.flatnonzero(corpus.held_out)
    held_out = encode(corpus, rows, corpus.counts[rows], settings.max_genes)
    unigram = unigram_log_probability(corpus, settings.max_genes)

    table = {}
    for name, file in weights(args):
        network = new_network(len(corpus.median), settings).eval()
        network.load_state_dict({k: v.float() for k, v in load_file(file).items()}, strict=False)
        table[name] = {
            **measured("corpus", network, held_out, unigram),
            **measured("pbmc3k", network, pbmc, unigram),
            "knn_accuracy": knn_accuracy(embeddings(network, pbmc), labels),
        }
    components = TruncatedSVD(50, random_state=0).fit_transform(log_counts)
    baseline = {"pca_knn_accuracy": knn_accuracy(components, labels)}
    results = {"over_training": table, **baseline, "n_pbmc": len(labels), "n_held_out": len(rows)}
    (args.checkpoint / "evaluation.json").write_text(json.dumps(results, indent=2) + "\n")
    write_card(args.checkpoint / "README.md", table, baseline, len(rows), len(labels))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the files named above")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--snapshots", type=Path, help="folder with step-*.safetensors")
    return parser.parse_args()


def weights(args: argparse.Namespace) -> list[tuple[str, Path]]:
    snapshots = sorted(args.snapshots.glob("step-*.safetensors")) if args.snapshots else []
    return [(f"step {int(p.stem[5:])}", p) for p in snapshots] + [("final", args.checkpoint / "model.safetensors")]


def read_pbmc(data: Path, corpus: Corpus, max_genes: int) -> tuple[TokenSequences, np.ndarray, sparse.csr_matrix]:
    """Labelled PBMC 3k cells as tokens, their cell types, and log counts of all their genes."""
    cells = anndata.read_h5ad(data / "sc" / "pbmc3k.h5ad")
    cells = cells[cells.obs["cell_type"] != "unlabelled"]
    column_of = {gene: n - len(SPECIAL) for gene, n in corpus.vocabulary.items()}
    column = np.array([column_of.get(id, -1) for id in cells.var["gene_ids"]])
    known = np.flatnonzero(column >= 0)
    n_genes = corpus.counts.shape[1]
    place = sparse.csr_matrix((np.ones(len(known)), (known, column[known])), shape=(cells.n_vars, n_genes))
    total = np.asarray(cells.X.sum(1)).ravel()
    held = Corpus((cells.X @ place).tocsr(), total, corpus.median, corpus.vocabulary, np.ones(len(total), bool))
    tokens = encode(held, np.arange(len(total)), held.counts, max_genes)
    return tokens, cells.obs["cell_type"].to_numpy(str), (sparse.diags(1e4 / total) @ cells.X).log1p()


def unigram_log_probability(corpus: Corpus, max_genes: int) -> torch.Tensor:
    """Log frequency of each token in the training cells, with one added to every count."""
    rows = np.flatnonzero(~corpus.held_out)
    tokens = encode(corpus, rows, corpus.counts[rows], max_genes).token
    counts = np.bincount(tokens, minlength=len(corpus.median)) + 1.0
    counts[: len(SPECIAL)] = 0
    return torch.from_numpy(np.log(counts / counts.sum() + 1e-30)).float()


@torch.no_grad()
def measured(name: str, network: BertForMaskedLM, sequences: TokenSequences, unigram: torch.Tensor) -> dict[str, float]:
    """Cross-entropy (nats) and accuracy of masked genes, and of the same genes by frequency alone."""
    generator, totals, n = torch.Generator().manual_seed(0), torch.zeros(4, dtype=torch.float64), 0
    for samples in length_buckets(sequences.lengths, np.arange(sequences.n_samples), 16_384):
        batch = pad_batch(sequences, samples, SPECIAL["<pad>"])
        inputs, chosen = masked(batch, len(unigram), generator)
        chosen &= inputs == SPECIAL["<mask>"]
        hidden = network.bert(input_ids=inputs, attention_mask=batch.mask.long()).last_hidden_state
        target, logits = batch.token[chosen], network.cls(hidden[chosen])
        right = (logits.argmax(1) == target).sum(), (target == unigram.argmax()).sum()
        lost = F.cross_entropy(logits, target, reduction="sum"), -unigram[target].sum()
        totals += torch.tensor([*map(float, lost), *map(float, right)])
        n += len(target)
    loss, unigram_loss, accuracy, unigram_accuracy = (totals / n).tolist()
    return {
        f"{name}_loss": loss,
        f"{name}_accuracy": accuracy,
        f"{name}_unigram_loss": unigram_loss,
        f"{name}_unigram_accuracy": unigram_accuracy,
    }


@torch.no_grad()
def embeddings(network: BertForMaskedLM, sequences: TokenSequences) -> np.ndarray:
    """Mean of the last hidden states of each cell."""
    out = np.zeros((sequences.n_samples, network.config.hidden_size))
    for samples in length_buckets(sequences.lengths, np.arange(sequences.n_samples), 16_384):
        batch = pad_batch(sequences, samples, SPECIAL["<pad>"])
        hidden = network.bert(input_ids=batch.token, attention_mask=batch.mask.long()).last_hidden_state
        weight = batch.mask.unsqueeze(-1).float()
        out[samples] = ((hidden * weight).sum(1) / weight.sum(1)).numpy()
    return out


def knn_accuracy(embedding: np.ndarray, labels: np.ndarray) -> float:
    """Mean accuracy of a cosine 15-nearest-neighbour classifier over five folds."""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    classifier = KNeighborsClassifier(15, metric="cosine")
    return float(cross_val_score(classifier, embedding - embedding.mean(0), labels, cv=folds).mean())


def write_card(path: Path, table: dict, baseline: dict, n_held_out: int, n_pbmc: int) -> None:
    """Replaces the measured part of the model card."""
    frame = pd.DataFrame(table).T
    rows = [
        "| weights | loss, held-out | accuracy, held-out | loss, PBMC 3k | accuracy, PBMC 3k | kNN accuracy, PBMC 3k |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in frame.iterrows():
        cells = [f"{row[key]:.3f}" for key in ("corpus_loss", "corpus_accuracy", "pbmc3k_loss", "pbmc3k_accuracy")]
        rows.append(f"| {name} | {' | '.join(cells)} | {row['knn_accuracy']:.3f} |")
    last = frame.iloc[-1]
    unigram = [f"{last[f'{set}_unigram_{what}']:.3f}" for set in ("corpus", "pbmc3k") for what in ("loss", "accuracy")]
    rows.append(f"| unigram baseline | {' | '.join(unigram)} | |")
    rows.append(f"| PCA of log counts (50) | | | | | {baseline['pca_knn_accuracy']:.3f} |")
    text = f"{START}\n{n_held_out} held-out cells of the corpora; {n_pbmc} cells of PBMC 3k.\n\n" + "\n".join(rows)
    before, _, rest = path.read_text().partition(START)
    path.write_text(before + text + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
