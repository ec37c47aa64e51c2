import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from biosae.artefacts import content_hash, write_json
from biosae.errors import ArtefactError, DataError, SettingError
from biosae.steering.context import Difference
from biosae.steering.ranking import (
    N_NEAREST,
    checked_features,
    greedy_ranking,
    label_ami,
    matched_ranking,
    random_ranking,
    ranked_by,
    ranking_score,
    read_features,
)


def test_ranking_leaves_out_what_has_no_score():
    score = np.array([0.3, np.nan, 0.9, 0.3])
    assert ranked_by(score, descending=True).tolist() == [2, 0, 3]
    assert ranked_by(score, descending=False).tolist() == [0, 3, 2]


def test_random_features_are_alive_and_follow_the_seed():
    alive = np.arange(3, 50)
    assert sorted(random_ranking(alive, 0)) == list(alive)
    assert list(random_ranking(alive, 0)) == list(random_ranking(alive, 0)) != list(random_ranking(alive, 1))


def test_matched_features_fire_about_as_often_and_are_others():
    frequency = np.geomspace(1e-5, 0.5, 200)
    frequency[7] = 0
    chosen = np.array([10, 100, 190])
    for seed in range(20):
        drawn = matched_ranking(chosen, frequency, seed)
        assert len(set(drawn)) == 3 and not set(drawn) & set(chosen) and 7 not in drawn
        # Chosen features and drawn ones are not among the nearest, so the reach is a little wider.
        assert (np.abs(drawn - chosen) <= N_NEAREST + 3).all()
    assert len({tuple(matched_ranking(chosen, frequency, seed)) for seed in range(20)}) > 10


def test_too_few_others_to_match():
    with pytest.raises(SettingError, match="only 2 others ever fire"):
        matched_ranking(np.array([0, 1, 2]), np.array([0.1, 0.1, 0.1, 0.2, 0.3, 0.0]), 0)


@pytest.mark.parametrize(
    "features, message",
    [
        ([3, 16], "names feature 16; this SAE has features 0 to 15"),
        ([3, 3], "names feature 3 twice"),
        ([], "no feature"),
    ],
)
def test_lists_are_checked(features, message):
    with pytest.raises(SettingError, match=message) as caught:
        checked_features(features, 16, "features")
    assert caught.value.argument == "steer.features"


@pytest.mark.parametrize(
    "text", ["3\n7\n12\n", "feature,score\nf3,0.5\nf7,0.4\nf12,0.1\n", "# mine\n3\tbest\n\n7 # next\n12"]
)
def test_files_with_one_feature_per_line(tmp_path, text):
    (tmp_path / "mine.csv").write_text(text)
    assert read_features(tmp_path / "mine.csv", 16).tolist() == [3, 7, 12]


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("3\nseven\n", DataError, "line 2: expected a feature such as 12 or f12, got 'seven'"),
        ("3\n99\n", SettingError, "names feature 99"),
        ("", SettingError, "names no feature"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, error, message):
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(error, match=message):
        read_features(tmp_path / "mine.txt", 16)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="file=.*none.txt cannot be read"):
        read_features(tmp_path / "none.txt", 16)


def test_greedy_takes_what_brings_closest():
    # Features 0 and 1 point the same way; after the first, the third helps more than the second.
    W_dec = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = Difference(codes=np.array([3.0, 0.5, 1.0, 0.0]), activation=np.array([3.5, 1.0]), between="")
    assert greedy_ranking(found, W_dec, 3).tolist() == [0, 2, 1]


def test_greedy_stops_when_nothing_helps():
    W_dec = np.eye(3)
    found = Difference(codes=np.array([1.0, 1.0, -1.0]), activation=np.array([1.0, 0.0, 0.5]), between="")
    assert 2 not in greedy_ranking(found, W_dec, 3)


def test_greedy_does_not_depend_on_the_unit_of_codes():
    generator = np.random.default_rng(0)
    W_dec, codes = generator.normal(size=(20, 6)), generator.normal(size=20)
    activation = (codes[:, None] * W_dec).sum(0) + 0.1 * generator.normal(size=6)
    same = greedy_ranking(Difference(codes, activation, ""), W_dec, 5)
    assert greedy_ranking(Difference(100 * codes, activation, ""), W_dec, 5).tolist() == same.tolist()


@pytest.fixture
def run(tmp_path):
    """A run folder with scores.csv; the feature table is passed beside it."""
    columns = pd.MultiIndex.from_tuples(
        [
            ("density", "frequency_token"),
            ("density", "kind"),
            ("label:batch", "auroc_select"),
            ("label:batch", "auroc"),
            ("label:batch", "f1"),
            ("label:batch", "ami"),
            ("labels", "margin"),
            ("residues", "f1_select"),
            ("residues", "f1"),
        ]
    )
    numbers = np.random.default_rng(0).random((12, 9)).astype(object)
    numbers[:, 1] = "normal"
    pd.DataFrame(numbers, columns=columns).rename_axis("feature").to_csv(tmp_path / "scores.csv")
    (tmp_path / "features.h5ad").write_text("features")
    write_json(tmp_path / "analysis.json", {"features_hash": content_hash(tmp_path / "features.h5ad")})
    return tmp_path


def scores_of(run):
    return pd.read_csv(run / "scores.csv", header=[0, 1], index_col=0)


def test_ami_is_of_the_train_and_select_samples(table, context_of):
    ami = label_ami(context_of(table), "batch")
    assert ami[0] == pytest.approx(1.0)
    assert ami[1] < 0.1  # marks batch b on the test samples only
    assert np.isnan(ami[2])


def test_ami_is_that_of_scikit_learn(table, context_of):
    rows = (table.obs["biosae_part"].isin(["train", "select"]) & (table.obs["biosae_n_tokens"] > 0)).to_numpy()
    member = (table.obs["batch"] == "b").to_numpy()[rows]
    codes = table.X[rows].toarray()
    for feature in (3, 5, 8):
        # For each class the cut of largest F1, the highest of equal ones; then the larger AMI of the two classes.
        amis = []
        for side in (member, ~member):
            cuts = np.unique(codes[:, feature][codes[:, feature] > 0])[::-1]
            f1 = [
                2 * (side & (codes[:, feature] >= c)).sum() / (side.sum() + (codes[:, feature] >= c).sum())
                for c in cuts
            ]
            on = codes[:, feature] >= cuts[int(np.argmax(f1))]
            amis.append(adjusted_mutual_info_score(side, on))
        assert label_ami(context_of(table), "batch")[feature] == pytest.approx(max(amis))


@pytest.mark.parametrize("name", ["label:batch/auroc", "label:batch/auroc_select"])
def test_a_score_of_the_test_samples_is_replaced_by_its_twin(run, table, name, context_of):
    expected = scores_of(run)["label:batch"]["auroc_select"]
    np.testing.assert_allclose(ranking_score(name, context_of(table)), expected)


def test_residues_are_chosen_by_their_f1_on_select(run, table, context_of):
    expected = scores_of(run)["residues"]["f1_select"]
    np.testing.assert_allclose(ranking_score("residues/f1", context_of(table)), expected)


def test_scores_without_labels_are_taken_as_they_are(run, table, context_of):
    found = ranking_score("density/frequency_token", context_of(table))
    np.testing.assert_allclose(found, scores_of(run)["density"]["frequency_token"])


def test_ami_needs_no_scores(table, context_of):
    assert ranking_score("label:batch/ami", context_of(table))[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "name, message",
    [
        ("label:batch/f1", "score of the test samples.*choose by label:batch/auroc or residues/f1 or label:batch/ami"),
        ("labels/margin", "score of the test samples.*choose by label:batch/auroc or residues/f1 or label:batch/ami"),
        ("label:batsh/auroc", "label:batsh/auroc is not a column of scores.csv; did you mean label:batch/auroc"),
        ("zebra/stripes", "it has the analyses density, label:batch"),
        ("density/kind", "is text \\(normal\\)"),
        ("auroc", "must be written analysis/metric"),
    ],
)
def test_scores_that_cannot_be_chosen_by(run, table, name, message, context_of):
    with pytest.raises(SettingError, match=f"^score .*{message}") as caught:
        ranking_score(name, context_of(table))
    assert caught.value.argument == "steer.score"


def test_scores_of_other_features_are_refused(run, table, context_of):
    (run / "features.h5ad").write_text("other features")
    with pytest.raises(ArtefactError, match="does not belong to features.h5ad .*again with the analyze stage"):
        ranking_score("label:batch/auroc", context_of(table))


def test_missing_scores_name_the_stage(table, context_of):
    with pytest.raises(ArtefactError, match="make it with the analyze stage"):
        ranking_score("label:batch/auroc", context_of(table))


def test_a_label_with_one_value_cannot_be_chosen_by(table, context_of):
    table.obs["one"] = "x"
    with pytest.raises(DataError, match="needs two values with 3 train or select samples each, got x"):
        label_ami(context_of(table), "one")
    with pytest.raises(DataError, match="no column donor; they have biosae_part, batch"):
        label_ami(context_of(table), "donor")
