"""The samples that are scored, and one line for everything that cannot be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from biosae.benchmark.benchmark_plan import BenchmarkPlan
from biosae.benchmark.chosen_cells import draw_within, scored_cells
from biosae.errors import ArtefactError, DataError, SettingError

PLAN = BenchmarkPlan("batch", "cell_type", ("test",), 10_000, (), 1000, n_halves=0, kbet=False, n_neighbours=15, seed=0)


@pytest.fixture
def obs(planted):
    table = pd.DataFrame({"batch": planted.batch, "cell_type": planted.label})
    return table.assign(biosae_part="test")


def score(obs, embedded=None, **changes):
    embedded = np.ones(len(obs), dtype=bool) if embedded is None else embedded
    return scored_cells(obs, embedded, replace(PLAN, **changes))


def test_rows_without_embedding_batch_or_label_are_left_out(obs):
    obs.loc[3, "cell_type"] = np.nan
    obs.loc[4, "batch"] = ""
    obs.loc[5, "biosae_part"] = "validate"
    embedded = np.ones(len(obs), dtype=bool)
    embedded[6] = False
    cells = score(obs, embedded)
    assert set(range(len(obs))) - set(cells.rows) == {3, 4, 5, 6}
    assert cells.n_available == len(obs) - 4


def test_rare_labels_are_left_out_and_named(obs):
    obs.loc[:8, "cell_type"] = "Mk"
    cells = score(obs)
    assert cells.left_out == {"Mk": "9 scored samples, fewer than 10"}
    assert "Mk" not in cells.label


def test_thinning_keeps_the_composition_and_depends_on_the_seed_alone(obs):
    big = pd.concat([obs] * 5, ignore_index=True)
    cells = score(big, max_cells=600)
    assert (len(cells.rows), cells.n_available) == (600, 1200)
    assert set(np.bincount(cells.stratum)) == {50}
    assert np.array_equal(cells.rows, score(big, max_cells=600).rows)
    assert not np.array_equal(cells.rows, score(big, max_cells=600, seed=1).rows)


def test_thinning_keeps_one_of_a_rare_stratum():
    stratum = np.array(["common"] * 99 + ["rare"])
    assert stratum[draw_within(stratum, 10, seed=0)].tolist() == ["common"] * 9 + ["rare"]


@pytest.mark.parametrize("part", ["train", "select"])
def test_samples_that_chose_features_are_refused(obs, part):
    with pytest.raises(SettingError, match=f"^parts takes validate and test, got test, {part}; features were") as e:
        score(obs, parts=("test", part))
    assert e.value.argument == "benchmark.parts"


def test_nothing_embedded_names_the_stage(obs):
    with pytest.raises(ArtefactError, match="no embedding .* parts validate; run the steer stage with these parts"):
        score(obs, parts=("validate",))


def test_missing_columns_are_named_with_those_that_exist(obs):
    with pytest.raises(DataError, match="^batch_key=donor is not a column .* they have batch, cell_type"):
        score(obs, batch_key="donor")
    with pytest.raises(DataError, match="^label_key=type is not a column"):
        score(obs, label_key="type")
    with pytest.raises(SettingError, match="label_key must be another column than the batch, got batch twice"):
        score(obs, label_key="batch")


def test_one_batch_or_label_is_refused(obs):
    with pytest.raises(DataError, match="^batch_key=batch needs two values at least, the 240 scored .* one: b0"):
        score(obs.assign(batch="b0"))
    with pytest.raises(DataError, match="^label_key=cell_type needs two values at least.*take another column"):
        score(obs.assign(cell_type="T"))


def test_too_few_samples_are_refused(obs):
    with pytest.raises(DataError, match="need 200 samples with batch and label, got 80"):
        score(obs[::3])


def test_a_label_of_one_batch_is_kept_and_named(obs):
    alone = obs["cell_type"].where((obs["cell_type"] != "NK") | (obs["batch"] == "b1"), "T")
    cells = score(obs.assign(cell_type=alone))
    assert len(cells.rows) == 240
    assert cells.labels_in_one_batch == ["NK"]
    assert cells.n_transferable == 220
