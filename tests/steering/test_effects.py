import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from biosae.steering.context import Column
from biosae.steering.effects import N_NEIGHBOURS, Subjects, Vote, effects, gap, weighted_mean

N = 120


@pytest.fixture
def embedding():
    """Two batches five apart along the first axis, two types nine apart along the second."""
    generator = np.random.default_rng(0)
    batch, kind = np.tile(["a", "b"], N // 2), np.repeat(["T", "B"], N // 2)
    x = generator.normal(size=(N, 4)) + 5 * (batch == "b")[:, None] * np.eye(4)[0]
    return x + 9 * (kind == "B")[:, None] * np.eye(4)[1], batch.astype(object), kind.astype(object)


def subjects(x, batch, kind):
    return Subjects.of(x, Column("batch", batch), Column("kind", kind), Column("batch", batch), seed=0)


def of_all(table, metric):
    return table[(table["metric"] == metric) & (table["group_by"] == "all")].iloc[0]


def test_no_edit_has_no_effect(embedding):
    table = effects(subjects(*embedding), [("s000", embedding[0])], 1)
    assert (of_all(table, "shift")[["estimate", "low", "high"]] == 0).all()
    for metric in ("target_gap", "label_gap", "label_kept"):
        assert of_all(table, metric)["estimate"] == pytest.approx(1.0), metric


def test_taking_the_batch_away_closes_its_gap_and_leaves_the_types(embedding):
    x, batch, kind = embedding
    edited = x - 5 * (batch == "b")[:, None] * np.eye(4)[0]
    table = effects(subjects(x, batch, kind), [("s000", edited)], 1)
    assert of_all(table, "target_gap")["estimate"] < 0.1
    assert of_all(table, "label_gap")["estimate"] == pytest.approx(1.0, abs=0.05)
    assert of_all(table, "label_kept")["estimate"] == 1.0
    spread = np.sqrt(np.square(x - x.mean(0)).sum(1).mean())
    assert of_all(table, "shift")["estimate"] == pytest.approx(2.5 / spread)
    moved = table[(table["metric"] == "shift") & (table["group_by"] == "batch")].set_index("group")["estimate"]
    assert moved["a"] == 0 and moved["b"] == pytest.approx(5 / spread)


def test_exchanging_the_types_loses_every_label(embedding):
    x, batch, kind = embedding
    edited = x + 9 * np.where(kind == "B", -1, 1)[:, None] * np.eye(4)[1]
    table = effects(subjects(x, batch, kind), [("s000", edited)], 1)
    assert of_all(table, "label_kept")["estimate"] == 0.0


def test_gap_by_hand():
    group = np.array(["a"] * 5 + ["b"] * 5 + ["rare"] * 2 + [None], dtype=object)
    original = np.concatenate([np.zeros((5, 1)), np.full((5, 1), 4.0), np.full((3, 1), 99.0)])
    edited = original / 4
    ones = np.ones((13, 3))
    assert gap(original, edited, group, ones) == pytest.approx((0.25, 0.25, 0.25))
    assert np.isnan(gap(original, edited, np.array(["a"] * 13, dtype=object), ones)).all()


def test_the_interval_of_a_mean_holds_it_in_19_of_20_cases():
    generator = np.random.default_rng(1)
    held = []
    for _ in range(200):
        values = generator.normal(size=60)
        weights = generator.multinomial(60, np.full(60, 1 / 60), size=200).T.astype(float)
        _, low, high = weighted_mean(values, weights, np.ones(60, dtype=bool))
        held.append(low <= 0 <= high)
    assert 0.88 <= np.mean(held) <= 0.99  # binomial error of 200 cases


def test_votes_are_those_of_scikit_learn_without_the_sample_itself(embedding):
    x, _, kind = embedding
    vote = Vote(x, kind)
    for row in range(0, N, 17):
        others = np.arange(N) != row
        expected = KNeighborsClassifier(N_NEIGHBOURS).fit(x[others], kind[others].astype(str)).predict(x[[row]])
        assert vote.before[row] == expected[0]


def test_samples_without_a_label_do_not_vote(embedding):
    x, _, kind = embedding
    some = kind.copy()
    some[::3] = None
    assert set(Vote(x, some).before) == {"T", "B"}


def test_batches_are_not_resampled_whole_when_their_gap_is_what_counts(embedding):
    x, _, kind = embedding
    six = np.tile(list("abcdef"), N // 6).astype(object)
    table = effects(subjects(x, six, kind), [("s000", x)], 1)
    assert of_all(table, "target_gap").notna().all()
    by_donor = Subjects.of(x, Column("kind", kind), None, Column("donor", six), seed=0)
    assert all(len(np.unique(by_donor.weights[six == donor], axis=0)) == 1 for donor in "abcdef")
