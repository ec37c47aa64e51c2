"""Label transfer to a batch that was left out: neighbours in the other batches vote."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier

METRICS = ("transfer_accuracy", "transfer_macro_f1")


def label_transfer(embedding: np.ndarray, batch: np.ndarray, label: np.ndarray, n_neighbours: int) -> dict[str, float]:
    """Return accuracy and macro-F1 of a kNN vote from all other batches, each the mean over the batches.

    A sample whose label no other batch has cannot be predicted, and is left out. Macro-F1 is the mean over the
    labels that occur in the left-out batch. NaN when no batch shares a label with another.

    Parameters
    ----------
    embedding
        ``(n, d)``.
    batch, label
        ``(n,)``.
    """
    scores = [scores for _, _, *scores in transfer_to_each(embedding, batch, label, n_neighbours)]
    means = np.mean(scores, axis=0) if scores else (np.nan, np.nan)
    return dict(zip(METRICS, map(float, means), strict=True))


def transfer_to_each(
    embedding: np.ndarray, batch: np.ndarray, label: np.ndarray, n_neighbours: int
) -> list[tuple[str, int, float, float]]:
    """Return for each left-out batch its name, the number of its scored samples, accuracy and macro-F1."""
    found = []
    for name in np.unique(batch):
        inside = batch == name
        known = inside & np.isin(label, label[~inside])
        if known.any():
            vote = KNeighborsClassifier(min(n_neighbours, int((~inside).sum()))).fit(embedding[~inside], label[~inside])
            truth, predicted = label[known], vote.predict(embedding[known])
            macro_f1 = f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
            found.append((str(name), int(known.sum()), accuracy_score(truth, predicted), macro_f1))
    return found
