"""Scores of 4,096 features against 20 classes on 10,000 cells: biosae beside a plain loop over scikit-learn.

    python bench/analysis.py [--gene-sets GMT]

The loop is timed on a sample of the pairs, in the same run, and its numbers are compared with ours on all
of that sample; its whole time is the time of one pair times the number of pairs. With a GMT file, also the
over-representation of its sets in 1,000 features, with the matched lists; GO_Biological_Process_2021 of Enrichr
is one such file. Writes nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as many as a loop over scikit-learn uses

import numpy as np
from scipy import sparse
from sklearn.metrics import adjusted_mutual_info_score, f1_score, roc_auc_score

from biosae.analysis.genes.enrichment import enrichment
from biosae.analysis.genes.gene_sets import read_gene_sets
from biosae.analysis.stats.auroc import SortedCodes, auroc, midranks
from biosae.analysis.stats.permutation_tests import shuffled_null
from biosae.analysis.stats.thresholds import adjusted_mutual_information, counts_above, f1
from biosae.progress import unseen

N_CELLS, N_FEATURES, N_CLASSES, DENSITY = 10_000, 4_096, 20, 0.05
SHARES = (0.05, 0.15, 0.3, 0.5, 0.8)
"""Thresholds, as shares of a feature's largest code."""
N_SAMPLED = 100
N_PERMUTATIONS = 1_000
N_GENES, N_LISTED = 8_000, 1_000
TOLERANCE = 1e-6


def main() -> None:
    arguments = _arguments()
    generator = np.random.default_rng(0)
    codes, label, member = _data(generator)
    thresholds = np.outer(codes.max(axis=0).toarray().ravel(), SHARES)  # (n_features, n_thresholds)
    print(f"{N_CELLS:,} cells x {N_FEATURES:,} features x {N_CLASSES} classes x {len(SHARES)} thresholds, one core")
    ours, in_order = _ours(codes, member, thresholds)
    pairs = np.column_stack([generator.integers(0, N_FEATURES, N_SAMPLED), generator.integers(0, N_CLASSES, N_SAMPLED)])
    n_pairs, whole = N_FEATURES * N_CLASSES, [0.0, 0.0]
    for name, n_calls, score in (
        ("AUROC", 1, lambda is_member, code, cut: roc_auc_score(is_member, code)),
        ("F1", len(SHARES), lambda is_member, code, cut: f1_score(is_member, code >= cut)),
        ("AMI", len(SHARES), lambda is_member, code, cut: adjusted_mutual_info_score(is_member, code >= cut)),
    ):
        values, seconds = ours[name]
        loop, difference = _loop(score, values, codes, member, thresholds, pairs)
        assert difference <= TOLERANCE, f"{name} differs from scikit-learn by {difference}"
        loop *= n_pairs * n_calls
        whole = [whole[0] + seconds, whole[1] + loop]
        print(_line(name, seconds, loop) + f"   largest difference {difference:.1e}")
    print(_line("together", *whole))
    _time_null(in_order, label, generator)
    if arguments.gene_sets:
        _time_gene_sets(arguments.gene_sets, generator)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gene-sets", type=Path, help="GMT file of the sets to test 1,000 features against")
    return parser.parse_args()


def _data(generator: np.random.Generator) -> tuple[sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Sparse codes of which some follow a class, with classes from frequent to rare."""
    share = 1 / np.arange(1, N_CLASSES + 1)
    label = generator.choice(N_CLASSES, N_CELLS, p=share / share.sum())
    codes = sparse.random(N_CELLS, N_FEATURES, DENSITY, random_state=generator, format="coo", dtype=np.float32)
    follows = label[codes.row] == codes.col % N_CLASSES
    codes.data[follows] += 0.5
    return codes.tocsr(), label, label[:, None] == np.arange(N_CLASSES)


def _ours(codes: sparse.csr_matrix, member: np.ndarray, thresholds: np.ndarray) -> tuple[dict, SortedCodes]:
    """Score -> values ``(n_features, n_classes, n_thresholds)`` and CPU seconds; sorting counts as AUROC."""
    start = time.process_time()
    in_order = SortedCodes.of(codes)
    area = auroc(midranks(in_order), member)
    seconds = {"AUROC": time.process_time() - start}
    start = time.process_time()
    n_members = member.sum(axis=0)
    tables = [counts_above(in_order, member, np.tile(cut[:, None], N_CLASSES)) for cut in thresholds.T]
    harmonic = np.stack([f1(*table, n_members) for table in tables], axis=2)
    seconds["F1"] = time.process_time() - start
    start = time.process_time()
    n_above, n_hits = (np.stack(counts, axis=2) for counts in zip(*tables, strict=True))
    information = adjusted_mutual_information(n_hits, n_above, n_members[:, None], N_CELLS)
    seconds["AMI"] = time.process_time() - start
    values = {"AUROC": np.repeat(area[:, :, None], len(SHARES), axis=2), "F1": harmonic, "AMI": information}
    return {name: (values[name], seconds[name]) for name in values}, in_order


def _loop(
    score: Callable, ours: np.ndarray, codes: sparse.csr_matrix, member: np.ndarray, cuts: np.ndarray, pairs: np.ndarray
) -> tuple[float, float]:
    """CPU seconds of one call of scikit-learn, and the largest difference to ours over the sampled pairs."""
    columns = codes.tocsc()
    seconds, difference = 0.0, 0.0
    for number, (feature, c) in enumerate(pairs):
        code, cut = columns[:, [feature]].toarray().ravel(), number % len(SHARES)
        start = time.process_time()
        found = score(member[:, c], code, cuts[feature, cut])
        seconds += time.process_time() - start
        difference = max(difference, abs(found - ours[feature, c, cut]))
    return seconds / len(pairs), difference


def _time_null(in_order: SortedCodes, label: np.ndarray, generator: np.random.Generator) -> None:
    member = label[:, None] == np.arange(N_CLASSES)
    start = time.process_time()
    shuffled_null(midranks(in_order), member, np.zeros(N_CELLS), N_PERMUTATIONS, generator, unseen)
    seconds = time.process_time() - start
    print(f"null of {N_PERMUTATIONS:,} permutations, {N_CLASSES} classes: {seconds:.1f} CPU seconds")


def _time_gene_sets(path: Path, generator: np.random.Generator) -> None:
    """A thousand features, each active on a tenth of 8,000 genes of the sets, popular genes more often."""
    sets = read_gene_sets([path])
    symbols = np.array(sorted(set().union(*sets.genes)))
    symbols = generator.permutation(symbols)[:N_GENES]
    n_tokens = np.ceil(1e5 / np.arange(1, len(symbols) + 1)).astype(np.int64)
    active = generator.random((N_LISTED, len(symbols))) < 0.1
    total = sparse.csr_matrix(active * generator.gamma(0.5, 1.0, active.shape) * np.sqrt(n_tokens))
    start = time.process_time()
    found = enrichment(total, n_tokens, symbols, sets, seed=0)
    seconds = time.process_time() - start
    print(f"{N_LISTED:,} features x {found.n_sets:,} sets, {found.n_tests:,} tests: {seconds:.1f} CPU seconds")


def _line(name: str, ours: float, loop: float) -> str:
    return f"{name:<9} {ours:8.2f} s   scikit-learn {loop:10,.0f} s   {loop / ours:8,.0f} times faster"


if __name__ == "__main__":
    main()
