import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from biosae.analysis.explain.evidence import gather_evidence
from biosae.analysis.explain.explain import _simplest, explain, firing_auroc, judge
from biosae.analysis.explain.fits import fit_lines

from .planted import plant


@pytest.fixture(scope="module")
def planted():
    return plant()


@pytest.fixture(scope="module")
def evidence(planted):
    keys = ["cell_type", "age"]
    return gather_evidence(planted.features, planted.expression, keys, "donor", planted.sets, {}, seed=0)


@pytest.fixture(scope="module")
def found(evidence):
    return explain(evidence, seed=0)


def test_planted_explanations_are_recovered(planted, found):
    """At least nine of ten, of the right kind and names, with a fidelity above 0.8."""
    table = found.chosen.join(planted.truth, rsuffix="_true")
    table = table[table["kind_true"] != "noise"]
    is_right = (table["kind"] == table["kind_true"]) & (table["fidelity"] > 0.8) & table["is_explained"]
    assert is_right.mean() >= 0.9, table[~is_right][
        ["kind", "names", "kind_true", "names_true", "fidelity"]
    ].to_string()
    same_names = [set(a) == set(b) for a, b in zip(table["names"], table["names_true"], strict=True)]
    assert np.mean(same_names) >= 0.9


def test_nothing_is_claimed_of_noise(planted, found):
    noise = found.chosen[planted.truth["kind"] == "noise"]
    assert noise["is_explained"].mean() <= 0.05
    assert found.chosen["null_fidelity"].dropna().quantile(0.95) < 0.05


def test_lines_are_those_of_scikit_learn_with_each_sample_left_out_once(generator):
    x, y = generator.normal(size=(30, 2)).astype(np.float32), generator.normal(size=(30, 2)).astype(np.float32)
    lines = fit_lines(x, y)
    for column in range(2):
        model = LinearRegression().fit(x[:, [column]], y[:, column])
        assert lines.slope[column] == pytest.approx(model.coef_[0], abs=1e-5)
        left_out = cross_val_predict(LinearRegression(), x[:, [column]], y[:, column], cv=LeaveOneOut())
        np.testing.assert_allclose(lines.left_out[:, column], (y[:, column] - left_out) ** 2, rtol=1e-3, atol=1e-6)


def test_a_constant_variable_predicts_the_mean(generator):
    y = generator.normal(size=(20, 1)).astype(np.float32)
    lines = fit_lines(np.full((20, 1), 3.0, np.float32), y)
    np.testing.assert_allclose(lines.predict(np.ones((1, 1)))[0, 0], y.mean(), rtol=1e-5)


def test_the_simplest_within_one_standard_error_is_chosen():
    errors = np.zeros((3, 4, 2), np.float32)
    errors[0] = 5  # nothing
    errors[1] = [
        [1.1, 1.5],
        [0.9, 1.4],
        [1.2, 1.6],
        [0.8, 1.5],
    ]  # a class: as good in the first column, worse in the second
    errors[2] = 1  # a class and a gene
    chosen = _simplest(errors, ["nothing", "class", "class and gene"], np.ones((3, 2), bool))
    assert chosen.tolist() == [1, 2]


def test_fidelity_is_the_share_of_squared_deviation_predicted_on_test(evidence, found):
    feature = int(found.chosen.index[found.chosen["kind"] == "depth"][0])
    variable = evidence.variables.names.index("sequencing depth")
    x, y = evidence.variables.values[:, variable], evidence.codes[:, feature].toarray().ravel()
    select, test = evidence.of_part("select"), evidence.of_part("test")
    slope, intercept = np.polyfit(x[select], y[select], 1)
    error = ((y[test] - intercept - slope * x[test]) ** 2).mean() / ((y[test] - y[select].mean()) ** 2).mean()
    assert found.chosen.loc[feature, "fidelity"] == pytest.approx(1 - error, abs=1e-4)
    judged = judge(evidence, x[:, None], np.array([feature]))
    assert judged["fidelity"][0] == pytest.approx(1 - error, abs=1e-4)


def test_firing_is_scored_by_the_auroc_of_scikit_learn(generator):
    predicted, fires = generator.normal(size=(40, 2)).round(1), generator.random((40, 2)) < 0.3
    found = firing_auroc(predicted, fires)
    assert found == pytest.approx([roc_auc_score(fires[:, i], predicted[:, i]) for i in range(2)])
    assert np.isnan(firing_auroc(predicted, np.ones((40, 2), bool))).all()


def test_codes_are_shuffled_within_parts_and_donors_only(evidence):
    shuffled = evidence.shuffled(np.random.default_rng(0))
    before, after = evidence.codes[:, 0].toarray().ravel(), shuffled.codes[:, 0].toarray().ravel()
    assert (before != after).mean() > 0.9
    for part in ("train", "select", "test"):
        for group in range(3):
            own = (evidence.part == part) & (evidence.group == group)
            np.testing.assert_array_equal(np.sort(before[own]), np.sort(after[own]))


def test_blocks_of_features_do_not_matter(evidence, found, monkeypatch):
    monkeypatch.setattr("biosae.analysis.explain.explain.FEATURES_PER_BLOCK", 7)
    again = explain(evidence, seed=0)
    assert again.chosen["kind"].tolist() == found.chosen["kind"].tolist()
    np.testing.assert_allclose(again.chosen["fidelity"], found.chosen["fidelity"], atol=1e-5)


def test_samples_of_a_part_without_train_are_ranked_on_select(planted):
    features = planted.features.copy()
    features.obs["biosae_part"] = np.where(
        features.obs["biosae_part"] == "train", "validate", features.obs["biosae_part"]
    )
    evidence = gather_evidence(features, None, ["cell_type"], None, planted.sets, {}, seed=0)
    chosen = explain(evidence, seed=0).chosen
    kinds = chosen.loc[(planted.truth["kind"] == "class").to_numpy(), "kind"]
    assert (kinds == "class").mean() > 0.8


def test_a_feature_that_hardly_fires_is_not_judged(planted, evidence):
    silent = planted.features.copy()
    codes = silent.X.tolil()
    codes[:, 0] = 0
    silent.X = codes.tocsr()
    few = gather_evidence(silent, None, ["cell_type"], None, planted.sets, {}, seed=0)
    chosen = explain(few, seed=0).chosen
    assert pd.isna(chosen.loc[0, "fidelity"]) and not chosen.loc[0, "is_explained"]


def test_cells_that_hardly_express_a_gene_are_explained_by_what_there_is(planted):
    silent = planted.expression.copy()
    silent.X = silent.X * 0
    silent.X.eliminate_zeros()
    evidence = gather_evidence(planted.features, silent, ["cell_type"], None, planted.sets, {}, seed=0)
    chosen = explain(evidence, seed=0).chosen
    assert (chosen.loc[(planted.truth["kind"] == "class").to_numpy(), "kind"] == "class").mean() > 0.8


def test_a_class_in_which_a_feature_is_silent_does_not_name_it(planted):
    """The other types are too rare to be fitted, so that one class is left, where the feature does not fire."""
    few = planted.features.copy()
    few.obs["cell_type"] = np.where(few.obs["cell_type"] == "type0", "type0", few.obs_names)
    codes = few.X.tolil()
    codes[:, 0] = (few.obs["cell_type"] != "type0").to_numpy(np.float32)[:, None]
    few.X = codes.tocsr()
    chosen = explain(gather_evidence(few, None, ["cell_type"], None, planted.sets, {}, seed=0), seed=0).chosen
    assert chosen.loc[0, "kind"] != "class"
