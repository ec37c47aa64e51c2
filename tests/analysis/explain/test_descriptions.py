import numpy as np
import pandas as pd
import pytest

from biosae.analysis.explain.descriptions import (
    read_answers,
    read_descriptions,
    score_answers,
    score_descriptions,
    statement,
)
from biosae.analysis.explain.evidence import gather_evidence
from biosae.errors import DataError

from .planted import plant


@pytest.fixture(scope="module")
def planted():
    return plant(per_kind=3, n_noise=4)


@pytest.fixture(scope="module")
def evidence(planted):
    keys = ["cell_type", "age"]
    return gather_evidence(planted.features, planted.expression, keys, "donor", planted.sets, {}, seed=0)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Fires in type1 and type3 cells", ["type1", "type3"]),
        ("high GENE180, the more the stronger", ["GENE180"]),
        ("programme 2 genes in type0", ["type0", "PROGRAMME_2"]),
        ("sequencing depth", ["sequencing depth"]),
        ("cells of donor d1, not type2", ["d1"]),
        ("something else", []),
    ],
)
def test_texts_are_read_for_what_they_name(evidence, text, names):
    assert statement(text, evidence)[0] == names


def test_true_descriptions_do_as_well_as_explanations_and_dealt_ones_do_not(planted, evidence):
    """Texts that say what was planted."""
    truth = planted.truth[planted.truth["kind"].isin(["gene", "class", "union", "set", "depth"])]
    texts = [" and ".join(names) for names in truth["names"]]
    described = pd.DataFrame({"feature": truth.index, "description": texts})
    scores = score_descriptions(evidence, described, seed=0)
    assert (scores["fidelity"] > 0.8).all()
    assert (scores["firing_auroc"] > 0.7).all()
    assert scores["null_fidelity"].median() < 0.1


def test_a_description_of_the_opposite_is_worth_nothing(planted, evidence):
    feature = int(planted.truth.index[planted.truth["kind"] == "class"][0])
    inside = planted.truth.loc[feature, "names"][0]
    others = [name for name in evidence.labels[0].names if name != inside]
    described = pd.DataFrame({"feature": [feature], "description": [", ".join(others)]})
    assert score_descriptions(evidence, described, seed=0)["fidelity"][0] <= 0


def test_answers_are_scored_by_correlation(planted):
    rows = np.flatnonzero(planted.features.obs["biosae_part"] == "test")[:12]
    code = planted.features.X[rows][:, 3].toarray().ravel()
    answers = pd.DataFrame({"feature": 3, "sample": rows, "prediction": 2 * code + 1})
    scores = score_answers(planted.features, answers)
    assert scores["correlation"].tolist() == pytest.approx([1]) and scores["n_answers"].tolist() == [12]
    assert scores["answer_auroc"].tolist() == [1.0]
    assert score_answers(planted.features, answers.assign(prediction=-code))["correlation"][0] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("feature\n1\n", "lacks the column description"),
        ("feature,description\n99,x\n", "between 0 and 9, got '99'"),
        ("feature,description\n1.5,x\n", "between 0 and 9"),
        ("feature,description\n1,x\n1,y\n", "feature 1 more than once"),
    ],
)
def test_wrong_descriptions_are_refused(tmp_path, text, message):
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_descriptions(path, 10)


def test_descriptions_are_text_whatever_they_say(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("feature,description\nf1,NA\n2,=cmd()\n")
    assert read_descriptions(path, 10).to_numpy().tolist() == [[1, "NA"], [2, "=cmd()"]]


def test_answers_about_other_parts_are_refused(tmp_path, planted):
    row = int(np.flatnonzero(planted.features.obs["biosae_part"] == "train")[0])
    path = tmp_path / "a.csv"
    path.write_text(f"feature,sample,prediction\n1,{row},5\n")
    with pytest.raises(DataError, match="not a test sample"):
        read_answers(path, planted.features)
    path.write_text("feature,sample,prediction\n1,0,often\n")
    with pytest.raises(DataError, match="must be a number"):
        read_answers(path, planted.features)
