from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from biosae.errors import SettingError
from biosae.steering import ranking as ranking_module
from biosae.steering.context import Firing, SteeringContext
from biosae.steering.edit_settings import Setting, amounts, edit_settings
from biosae.steering.edits import Centre, ProjectOut
from biosae.steering.plan import FeatureChoice, Recipe, SteeringPlan
from biosae.steering.ranking import rankings

FIRING = Firing(np.linspace(0.01, 0.5, 40), np.linspace(1, 3, 40))
RANKING = np.array([7, 3, 30, 12])
CLAMP = Recipe("clamp", (0.0, 2.0), "scale", "all", "keep")
EVERY = ("matched_features", "random_features", "random_direction", "difference_in_means", "centring")
PLAN = SteeringPlan(FeatureChoice("score"), CLAMP, (1, 3), (0, 1), EVERY, "batch", ("validate", "test"), 200, 0)


@pytest.fixture
def context(make_context, table):
    W_dec = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    return make_context(SimpleNamespace(d_in=4, W_dec=W_dec), None, table)


def settings_of(context, plan):
    return edit_settings(context, plan, rankings(context, plan))


@pytest.fixture
def settings(context, monkeypatch):
    """The settings of a plan whose ranking and firing are known."""

    def settings(ranking=RANKING, **changes):
        monkeypatch.setattr(SteeringContext, "firing", FIRING)
        monkeypatch.setattr(ranking_module, "chosen_features", lambda *of: (ranking, "label:batch/ami"))
        return list(settings_of(context, replace(PLAN, **changes)).values())

    return settings


def dose(setting):
    return len(setting.features), setting.dose.value


def of(method, found):
    return [setting for setting in found if setting.method == method]


def test_every_number_of_features_value_and_seed_has_a_setting(settings):
    found = settings()
    assert [dose(s) for s in of("sae", found)] == [(1, 0.0), (1, 2.0), (3, 0.0), (3, 2.0)]
    for method in ("matched_features", "random_features", "random_direction"):
        assert sorted((*dose(s), s.seed) for s in of(method, found)) == [
            (n, v, s) for n in (1, 3) for v in (0.0, 2.0) for s in (0, 1)
        ]
    assert len(of("difference_in_means", found)) == len(of("centring", found)) == 1
    assert len({s.identity for s in found}) == len(found)


def test_amounts_are_in_each_features_own_scale(settings):
    longest = of("sae", settings())[-1]
    assert longest.row["features"] == [7, 3, 30]
    np.testing.assert_allclose(longest.row["amount"], 2 * FIRING.active_scale[[7, 3, 30]])
    assert longest.label == "clamp 3 features to 2 x own scale by label:batch/ami"


def test_matched_features_are_none_that_a_longer_list_edits(settings):
    for setting in of("matched_features", settings()):
        assert not set(setting.features) & {7, 3, 30}


def test_shorter_random_lists_are_the_start_of_longer_ones(settings):
    drawn = [s for s in of("random_features", settings()) if s.seed == 1]
    short, long = (next(s.features for s in drawn if len(s.features) == n) for n in (1, 3))
    assert long[0] == short[0]


def test_a_random_direction_is_as_long_as_the_edit_it_stands_beside(settings):
    found = settings()
    for setting in of("random_direction", found):
        twin = next(s for s in of("sae", found) if dose(s) == dose(setting))
        assert setting.edit.like is setting.feature_edit is twin.edit


def test_ablation_has_one_dose(settings):
    found = settings(recipe=replace(CLAMP, operation="ablate"), baselines=())
    assert [s.dose.value for s in found] == [0.0, 0.0]


def test_random_features_alone(settings):
    found = settings(ranking=None, baselines=())
    assert {s.method for s in found} == {"random_features"} and len(found) == 8


def test_baselines_without_features_edit_the_target_away(settings, table):
    (erased,), (centred,) = (of(name, settings()) for name in ("difference_in_means", "centring"))
    assert isinstance(erased.edit, ProjectOut) and erased.edit.basis.shape == (4, 1)
    assert isinstance(centred.edit, Centre) and centred.edit.group.tolist() == [0, 1] * 60
    assert erased.target == centred.target == "batch" and erased.row["n_features"] is None


def test_words_decide_nothing():
    setting = Setting("centring", "words", lambda tokens: tokens.x, target="batch")
    assert setting.identity == replace(setting, label="other words", chooser="me").identity
    assert setting.identity != replace(setting, target="donor").identity


def test_more_features_than_there_are(settings):
    with pytest.raises(SettingError, match="asks for 9 features, but label:batch/ami gives 4") as caught:
        settings(n_features_list=(1, 9))
    assert caught.value.argument == "steer.n_features_list"


def test_a_given_list_is_also_edited_whole(settings):
    found = settings(choice=FeatureChoice("list", features=(7, 3, 30, 12)), n_features_list=(2, 9), baselines=())
    assert [len(s.features) for s in found] == [2, 2, 4, 4]


def test_a_perturbation_adds_the_difference_at_every_strength(context):
    plan = replace(PLAN, n_features_list=(1, 3)).toward("batch", "a", "b", (0.5, 2.0))
    settings = list(settings_of(context, plan).values())
    found, sae = context.difference("batch", "a", "b"), of("sae", settings)
    assert [dose(s) for s in sae] == [(1, 0.5), (3, 0.5), (1, 2.0), (3, 2.0)]
    assert {s.dose.unit for s in settings} == {s.chooser for s in sae} == {"difference"}
    np.testing.assert_allclose(sae[-1].row["amount"], 2 * found.codes[sae[-1].features])
    matched = [s for s in of("matched_features", settings) if dose(s) == (3, 2.0)]
    assert len(matched) == 2
    for setting in matched:
        assert setting.row["amount"] == sae[-1].row["amount"]
        assert not set(setting.features) & set(sae[-1].features)
    assert {s.method for s in settings} == {"sae", "matched_features", "random_direction", "difference_in_means"}
    means = of("difference_in_means", settings)
    np.testing.assert_allclose(means[-1].edit.vector, 2 * found.activation, rtol=1e-6)


def test_a_value_is_measured_in_the_features_own_scale():
    scale = np.array([2.0, 0.5, np.nan])

    def of(operation, value, unit, features):
        return amounts(Recipe(operation, (value,), unit, "all", "keep"), value, np.array(features), scale).tolist()

    assert of("clamp", 3.0, "scale", [1, 0]) == [1.5, 6.0]
    assert of("clamp", 3.0, "absolute", [1, 2]) == [3.0, 3.0]
    assert of("scale", 3.0, "scale", [1, 0]) == [3.0, 3.0]
    assert of("clamp", 0.0, "scale", [2]) == [0.0]


def test_a_silent_feature_has_no_scale():
    recipe = Recipe("add", (1.0,), "scale", "all", "keep")
    with pytest.raises(SettingError, match="feature 2 is never active.*take the unit absolute"):
        amounts(recipe, 1.0, np.array([0, 2]), np.array([2.0, 0.5, np.nan]))
