"""How fast activations come out of each model, beside the way the official pipelines run it.

    python bench/extract.py --cells CELLS --genes GENES

Random weights of published size in the official files, real cells. The official code is replaced by loops
of the same shape (stated at each), since its packages do not install beside current ones. One process a
model; CPU seconds of all threads, because wall time suffers from other programs; the matrix product rate
of the same run stands beside them. With --threads 1 neither side waits for threads of its own; with more, the
official loops share every product among them, and ours give each a batch.

CELLS is a file of raw counts. Those of docs/models.md are "3k PBMCs from a Healthy Donor" of 10x Genomics, 2,700
cells with all 32,738 genes; `biosae.datasets.pbmc3k` has most of them. GENES is a folder with the published gene lists:

- ``scgpt_human_vocab.json``: default_census_vocab.json of bowang-lab/scGPT, with <pad>, <cls> and <eoc> added
- ``scfoundation_OS_scRNA_gene_index.19264.tsv``: OS_scRNA_gene_index.19264.tsv of biomap-research/scFoundation
- ``geneformer_NAME_gc30M.json.gz`` and ``geneformer_NAME_gc104M.json.gz``: the dictionaries of ctheodoris/Geneformer on
  Hugging Face as JSON, for NAME token_dictionary, gene_median_dictionary, ensembl_mapping_dict and gene_name_id_dict
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from checkpoints import GENEFORMERS
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from biosae.data.cells import read_cells
from biosae.models.base import ModelAdapter
from biosae.models.esm2 import load_esm2
from biosae.models.geneformer import load_geneformer
from biosae.models.parallel import each_batch
from biosae.models.scfoundation import load_scfoundation
from biosae.models.scgpt import load_scgpt
from biosae.models.tokens import TokenSequences, pad_batch

LOADERS = {"scgpt": load_scgpt, "scfoundation": load_scfoundation, "esm2-650M": load_esm2}
LOADERS |= dict.fromkeys(GENEFORMERS, load_geneformer)
SAMPLES = {"scgpt": 32, "geneformer-v1-10M": 32, "geneformer-v2-104M": 8, "scfoundation": 8}
MIDDLE = {"scgpt": 5, "geneformer-v1-10M": 3}  # the layer of the comparison at partial depth; half by default
TOKENS_PER_BATCH = 16_384  # of which the adapter takes what suits a processor
OFFICIAL_BATCH = {"scgpt": 64, "geneformer-v1-10M": 16, "geneformer-v2-104M": 8}


def main() -> None:
    args = arguments()
    if args.model == "all":
        for name in LOADERS:
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--model", name], check=True)
        return
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory() as scratch:
        print(json.dumps(measure(args, Path(scratch) / args.model)), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, required=True, help=".h5ad with raw counts")
    parser.add_argument("--genes", type=Path, required=True, help="folder with the published gene lists named above")
    parser.add_argument("--model", default="all", choices=["all", *LOADERS])
    parser.add_argument("--samples", type=int, help="cells or proteins; by default what takes a minute or two")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-official", action="store_true", help="measure ours only")
    return parser.parse_args()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, float | str]:
    write_in_child(args.model, folder, args.genes)  # its memory is not ours
    samples = proteins(args.samples or 4) if args.model == "esm2-650M" else cells(args)
    adapter, load_seconds = timed(lambda: LOADERS[args.model](folder))
    loaded = peak_gb()
    sequences, tokenize_seconds = timed(lambda: adapter.tokenize(samples))
    n = sequences.n_samples
    middle = MIDDLE.get(args.model, adapter.n_layers // 2)
    rates = [matmul_rate()]
    result = {
        "model": args.model, "samples": n, "tokens_per_sample": round(float(sequences.lengths.mean())),
        "parameters_M": round(sum(p.numel() for p in adapter.network.parameters()) / 1e6),
        "load_s": round(load_seconds, 1), "peak_loaded_gb": loaded,
        "tokenize_samples_per_s": round(n / tokenize_seconds),
    }  # fmt: skip
    last = adapter.n_layers - 1
    _, full = timed(lambda: extract(adapter, sequences, last))
    _, partial = timed(lambda: extract(adapter, sequences, middle))
    rates.append(matmul_rate())
    result |= {"s_per_sample": full / n, f"s_per_sample_layer_{middle}": partial / n, "peak_run_gb": peak_gb()}
    result["share_of_floor"] = floor_seconds(adapter, sequences, np.mean(rates)) / full
    if args.model in OFFICIAL and not args.no_official:
        _, official = timed(lambda: OFFICIAL[args.model](folder, sequences, adapter))
        rates.append(matmul_rate())
        result |= {
            "official_s_per_sample": official / n,
            "speedup": official / full,
            "speedup_partial": official / partial,
        }
    result["gflop_per_cpu_s"] = [round(rate / 1e9, 1) for rate in rates]
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}


def write_in_child(name: str, folder: Path, genes: Path) -> None:
    code = "import sys; from pathlib import Path; from checkpoints import write_checkpoint as w; "
    code += "w(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))"
    subprocess.run([sys.executable, "-c", code, name, folder, genes.resolve()], cwd=Path(__file__).parent, check=True)


def cells(args: argparse.Namespace):
    n = args.samples or SAMPLES.get(args.model, 4)
    return read_cells(args.cells, n_cells=n, seed=0).adata


def proteins(n: int) -> SimpleNamespace:
    generator = np.random.default_rng(0)
    lengths = generator.integers(100, 600, n)
    sequences = ["".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), length)) for length in lengths]
    return SimpleNamespace(ids=[str(i) for i in range(n)], sequences=sequences)


def extract(adapter: ModelAdapter, sequences: TokenSequences, layer: int) -> None:
    samples = np.arange(sequences.n_samples)
    for _ in each_batch(
        adapter, sequences, samples, TOKENS_PER_BATCH, lambda model, batch: model.activations(batch, [layer])
    ):
        pass


def torch_layers(n: int, d: int, heads: int, d_mlp: int) -> nn.ModuleList:
    layers = (nn.TransformerEncoderLayer(d, heads, d_mlp, batch_first=True) for _ in range(n))
    return nn.ModuleList(layers).eval()


def official_scgpt(folder: Path, sequences: TokenSequences, adapter: ModelAdapter) -> None:
    """torch's TransformerEncoder over batches of 64 cells in the order of the file, padded to the longest."""
    args = json.loads((folder / "args.json").read_text())
    layer = nn.TransformerEncoderLayer(args["embsize"], args["nheads"], args["d_hid"], batch_first=True)
    encoder = nn.TransformerEncoder(layer, args["nlayers"]).eval()
    network = adapter.network
    for start in range(0, sequences.n_samples, OFFICIAL_BATCH["scgpt"]):
        rows = np.arange(start, min(start + OFFICIAL_BATCH["scgpt"], sequences.n_samples))
        batch = pad_batch(sequences, rows, adapter.pad_token)
        x = network.gene_norm(network.gene_embedding(batch.token)) + network.embed_values(batch.value)
        encoder(x, src_key_padding_mask=~batch.mask)


def official_geneformer(folder: Path, sequences: TokenSequences, adapter: ModelAdapter) -> None:
    """BertForMaskedLM with its head and all hidden states, cells sorted by length."""
    config = BertConfig.from_json_file(str(folder / "config.json"))
    config.output_hidden_states = True
    network = BertForMaskedLM(config).eval()
    order = np.argsort(-sequences.lengths, kind="stable")
    size = OFFICIAL_BATCH[folder.name]
    for start in range(0, len(order), size):
        batch = pad_batch(sequences, order[start : start + size], adapter.pad_token)
        network(input_ids=batch.token, attention_mask=batch.mask.long())


def official_scfoundation(folder: Path, sequences: TokenSequences, adapter: ModelAdapter) -> None:
    """torch's encoder layers, one cell at a time."""
    network = adapter.network
    d = adapter.d_model
    layers = torch_layers(adapter.n_layers, d, network.layers[0].attention.n_heads, 4 * d)
    for row in range(sequences.n_samples):
        batch = pad_batch(sequences, np.array([row]), adapter.pad_token)
        x = network.value_embedding(batch.value) + network.gene_embedding(batch.token)
        for layer in layers:
            x = layer(x, src_key_padding_mask=~batch.mask)
        network.norm(x)


OFFICIAL: dict[str, Callable] = {
    "scgpt": official_scgpt,
    "geneformer-v1-10M": official_geneformer,
    "geneformer-v2-104M": official_geneformer,
    "scfoundation": official_scfoundation,
}


def floor_seconds(adapter: ModelAdapter, sequences: TokenSequences, rate: float) -> float:
    """CPU seconds that the multiplications of the blocks take at the matrix product rate of this run."""
    shapes = [p.shape for p in adapter.network.parameters() if p.ndim == 2 and p.shape[0] < 10_000]
    per_token = 2 * sum(a * b for a, b in shapes if min(a, b) >= adapter.d_model)
    lengths = sequences.lengths.astype(float)
    attention = 4 * adapter.d_model * adapter.n_layers * (lengths**2).sum()
    return (per_token * lengths.sum() + attention) / rate


def timed(call: Callable) -> tuple[object, float]:
    """What the call gives, and the CPU seconds of all threads that it took."""
    start = time.process_time()
    value = call()
    return value, time.process_time() - start


def matmul_rate(seconds: float = 2.0) -> float:
    """Floating-point operations a CPU second of float32 matrix products, 4096 x 768 by 768 x 768, on one thread.

    Several threads on one product wait for each other, and their rate depends on what else the machine does.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.randn(4096, 768), torch.randn(768, 768)
    count, start = 0, time.process_time()
    while time.process_time() - start < seconds:
        a @ b
        count += 1
    rate = 2 * 4096 * 768 * 768 * count / (time.process_time() - start)
    torch.set_num_threads(n_threads)
    return rate


def peak_gb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


if __name__ == "__main__":
    main()
