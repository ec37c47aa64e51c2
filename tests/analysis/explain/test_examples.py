import json

import numpy as np
import pytest

from biosae.analysis.explain.examples import Exhibits, examples
from biosae.errors import DataError

from .planted import TYPES, plant


@pytest.fixture(scope="module")
def planted():
    return plant(per_kind=2, n_noise=2)


@pytest.fixture(scope="module")
def pairs(planted):
    exhibits = Exhibits(planted.features, planted.expression, None)
    return list(examples(exhibits, np.array([0, 2, 4]), n_examples=6, seed=0))


def test_every_feature_has_examples_and_questions(pairs):
    for feature, (line, question) in zip((0, 2, 4), pairs, strict=True):
        assert line["feature"] == question["feature"] == feature
        assert [len(line[kind]) for kind in ("top", "random", "contrast")] == [6, 6, 6]
        assert len(question["samples"]) == 6
        assert all(sample["activation"] >= 5 for sample in line["top"])
        assert np.mean([sample["activation"] for sample in line["contrast"]]) < 5


def test_nothing_gives_the_answer_away(pairs):
    text = json.dumps(pairs)
    assert not any(name in text for name in [*TYPES, "cell_type", "donor", "cell1"])
    assert all("activation" not in sample and "reads" not in sample for _, q in pairs for sample in q["samples"])


def test_questions_are_of_test_samples_and_examples_are_not(planted, pairs):
    part = planted.features.obs["biosae_part"].to_numpy()
    for _, question in pairs:
        assert {part[sample["sample"]] for sample in question["samples"]} == {"test"}


def test_genes_that_stand_out_are_those_above_the_mean(planted, pairs):
    exhibits = Exhibits(planted.features, planted.expression, None)
    genes = exhibits.of(5)["genes"]
    values = planted.expression.X.toarray()
    z = (values[5] - values.mean(0)) / (values.std(0) + 0.5)
    z[values[5] == 0] = -np.inf
    assert genes == planted.expression.var["symbol"].to_numpy()[np.argsort(-z, kind="stable")[:15]].tolist()


def test_samples_without_genes_and_residues_cannot_be_shown(planted):
    with pytest.raises(DataError, match="neither genes nor residues"):
        Exhibits(planted.features, None, None)
