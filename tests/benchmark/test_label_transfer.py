"""Label transfer against votes counted by hand."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from biosae.benchmark.label_transfer import label_transfer


def test_a_case_by_hand():
    # batch p: A at 0 and 1, B at 10; batch q: A at 0.1, B at 9 and at 0.9 (its nearest in p is A)
    embedding = np.array([[0.0], [1.0], [10.0], [0.1], [9.0], [0.9]])
    batch = np.array(list("pppqqq"))
    label = np.array(list("AABABB"))
    scores = label_transfer(embedding, batch, label, n_neighbours=1)
    # p from q: 0 -> A (0.1), 1 -> B (0.9), 10 -> B: 2 of 3; A: F1 2/3, B: F1 2/3
    # q from p: 0.1 -> A, 9 -> B, 0.9 -> A: 2 of 3; A: F1 2/3, B: F1 2/3
    assert scores == pytest.approx({"transfer_accuracy": 2 / 3, "transfer_macro_f1": 2 / 3})


def test_votes_and_scores_are_those_of_distances_sorted_by_hand(planted):
    embedding = planted.embed(batch_shift=1.0, label_shift=1.5)
    expected = []
    for name in np.unique(planted.batch):
        held, others = planted.batch == name, planted.batch != name
        distance = np.linalg.norm(embedding[held][:, None] - embedding[others], axis=2)
        near = planted.label[others][np.argsort(distance, axis=1)[:, :15]]
        vote = [max(sorted(set(row)), key=list(row).count) for row in near]
        macro = f1_score(planted.label[held], vote, average="macro")
        expected.append((accuracy_score(planted.label[held], vote), macro))
    scores = label_transfer(embedding, planted.batch, planted.label, 15)
    assert tuple(scores.values()) == pytest.approx(tuple(np.mean(expected, axis=0)))
    assert 0.5 < scores["transfer_accuracy"] < 1


def test_accuracy_forgives_a_rare_label_and_macro_f1_does_not():
    label = np.array((["common"] * 18 + ["rare"] * 2) * 2)
    scores = label_transfer(np.zeros((40, 1)), np.repeat(["p", "q"], 20), label, 15)
    assert scores["transfer_accuracy"] == pytest.approx(0.9)
    assert scores["transfer_macro_f1"] == pytest.approx((2 * 0.9 / 1.9) / 2)


def test_a_label_of_one_batch_is_not_scored():
    embedding = np.array([[0.0], [1.0], [50.0], [0.1], [1.1]])
    scores = label_transfer(embedding, np.array(list("pppqq")), np.array(list("ABCAB")), 1)
    assert scores == {"transfer_accuracy": 1.0, "transfer_macro_f1": 1.0}


def test_without_a_shared_label_there_is_no_score():
    scores = label_transfer(np.eye(2), np.array(["p", "q"]), np.array(["A", "B"]), 1)
    assert np.isnan(list(scores.values())).all()
