import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_mutual_info_score

from biosae.artefacts import content_hash, write_json
from biosae.errors import ArtefactError, DataError, SettingError
from biosae.steering.ranking_scores import label_ami, score_to_choose_by


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


def test_ami_is_of_the_train_and_select_samples(table):
    ami = label_ami(table, "batch")
    assert ami[0] == pytest.approx(1.0)
    assert ami[1] < 0.1  # marks batch b on the test samples only
    assert np.isnan(ami[2])


def test_ami_is_that_of_scikit_learn(table):
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
        assert label_ami(table, "batch")[feature] == pytest.approx(max(amis))


@pytest.mark.parametrize("name", ["label:batch/auroc", "label:batch/auroc_select"])
def test_a_score_of_the_test_samples_is_replaced_by_its_twin(run, table, name):
    expected = scores_of(run)["label:batch"]["auroc_select"]
    np.testing.assert_allclose(score_to_choose_by(name, run, table), expected)


def test_residues_are_chosen_by_their_f1_on_select(run, table):
    expected = scores_of(run)["residues"]["f1_select"]
    np.testing.assert_allclose(score_to_choose_by("residues/f1", run, table), expected)


def test_scores_without_labels_are_taken_as_they_are(run, table):
    found = score_to_choose_by("density/frequency_token", run, table)
    np.testing.assert_allclose(found, scores_of(run)["density"]["frequency_token"])


def test_ami_needs_no_scores(tmp_path, table):
    assert score_to_choose_by("label:batch/ami", tmp_path, table)[0] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "name, message",
    [
        ("label:batch/f1", "score of the test samples.*choose by label:batch/auroc or residues/f1 or label:batch/ami"),
        ("labels/margin", "score of the test samples.*choose by label:batch/auroc or residues/f1 or label:batch/ami"),
        ("label:batsh/auroc", "no column label:batsh/auroc; did you mean label:batch/auroc"),
        ("zebra/stripes", "it has the analyses density, label:batch"),
        ("density/kind", "is text \\(normal\\)"),
        ("auroc", "must be written analysis/metric"),
    ],
)
def test_scores_that_cannot_be_chosen_by(run, table, name, message):
    with pytest.raises(SettingError, match=message):
        score_to_choose_by(name, run, table)


def test_scores_of_other_features_are_refused(run, table):
    (run / "features.h5ad").write_text("other features")
    with pytest.raises(ArtefactError, match="made from other features; make it again with `biosae analyze`"):
        score_to_choose_by("label:batch/auroc", run, table)


def test_missing_scores_name_the_command(tmp_path, table):
    with pytest.raises(ArtefactError, match="make it with `biosae analyze`"):
        score_to_choose_by("label:batch/auroc", tmp_path, table)


def test_a_label_with_one_value_cannot_be_chosen_by(table):
    table.obs["one"] = "x"
    with pytest.raises(DataError, match="needs two values with 3 train or select samples each, got x"):
        label_ami(table, "one")
    with pytest.raises(DataError, match="no column donor; they have biosae_part, batch"):
        label_ami(table, "donor")
