"""The two families of scib-metrics and their totals, with exact neighbours."""

from __future__ import annotations

import logging
import os
import warnings

import numpy as np
from sklearn.neighbors import NearestNeighbors

from biosae.errors import require

BIO = ("isolated_labels", "leiden_nmi", "leiden_ari", "silhouette_label", "clisi")
BATCH = ("bras", "ilisi", "graph_connectivity", "pcr_comparison")
KBET = "kbet"  # of the family BATCH, on request
TOTALS = ("bio_conservation", "batch_correction", "total")
WEIGHT_OF_BIO = 0.6  # Luecken et al. 2022, Nat. Methods 19:41
N_LISI, N_KBET, N_GRAPH = 90, 50, 15  # neighbours, the sample itself among them, as scib-metrics takes them


def family_scores(
    embedding: np.ndarray, reference: np.ndarray, batch: np.ndarray, label: np.ndarray, with_kbet: bool
) -> dict[str, float]:
    """Return every metric of both families and the totals; all lie between 0 and 1, and 1 is best.

    Parameters
    ----------
    embedding
        ``(n, d)`` to score.
    reference
        ``(n, d_reference)``, not integrated; ``pcr_comparison`` compares how much the batch explains in both.
    batch, label
        ``(n,)`` text.

    Raises
    ------
    MissingExtraError
        If scib-metrics is not installed.
    """
    metrics = load_metrics()
    embedding, reference = (np.asarray(values, dtype=np.float32) for values in (embedding, reference))
    near = neighbours(embedding)
    graph = near.subset_neighbors(N_GRAPH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a batch that explains more than before is 0, as documented
        clusters = metrics.nmi_ari_cluster_labels_leiden(graph, label)
        scores = {
            "isolated_labels": metrics.isolated_labels(embedding, label, batch),
            "leiden_nmi": clusters["nmi"],
            "leiden_ari": clusters["ari"],
            "silhouette_label": metrics.silhouette_label(embedding, label),
            "clisi": metrics.clisi_knn(near, label),
            "bras": metrics.bras(embedding, label, batch),
            "ilisi": metrics.ilisi_knn(near, batch),
            "graph_connectivity": metrics.graph_connectivity(graph, label),
            "pcr_comparison": metrics.pcr_comparison(reference, embedding, batch, categorical=True),
        }
        if with_kbet:
            scores[KBET] = metrics.kbet_per_label(near.subset_neighbors(N_KBET), batch, label)
    return {name: float(value) for name, value in scores.items()} | totals(scores)


def totals(scores: dict[str, float]) -> dict[str, float]:
    """Return the mean of each family and the total, where biology weighs 0.6; undefined metrics are left out."""
    bio = float(np.nanmean([scores[name] for name in BIO]))
    batch = float(np.nanmean([scores[name] for name in (*BATCH, KBET) if name in scores]))
    return dict(zip(TOTALS, (bio, batch, WEIGHT_OF_BIO * bio + (1 - WEIGHT_OF_BIO) * batch), strict=True))


def load_metrics():
    """Import scib-metrics, on the processor unless JAX_PLATFORMS is set."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if not logging.getLogger().handlers:  # else its logging.info sets one up, which prints all our messages again
        logging.getLogger().addHandler(logging.NullHandler())
    return require("scib_metrics", "integration")


def neighbours(embedding: np.ndarray):
    """Return the exact `N_LISI` nearest samples, each sample first of its own; no approximate search to compile."""
    found = require("scib_metrics.nearest_neighbors", "integration")
    distance, index = NearestNeighbors(n_neighbors=N_LISI - 1).fit(embedding).kneighbors()
    own = np.arange(len(embedding))[:, None]
    return found.NeighborsResults(np.hstack([own, index]), np.hstack([np.zeros(own.shape), distance]))
