from dataclasses import replace

import pytest

from biosae.errors import DataError, SettingError
from biosae.steering.plan import FeatureChoice, Recipe, SteeringPlan, target_of

CLAMP = Recipe("clamp", (0.0, 2.0), "scale", "all", "keep")
PLAN = SteeringPlan(FeatureChoice("score"), CLAMP, (1, 3), (0, 1), ("centring",), None, ("validate", "test"), 200, 0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n_features_list": ()}, "n_features_list must hold numbers above 0"),
        ({"n_features_list": (0, 2)}, "n_features_list must hold numbers above 0"),
        ({"seeds": ()}, "seeds must hold at least one"),
        ({"baselines": ("luck",)}, "baselines must be some of .*, got luck"),
        ({"parts": ("select",)}, "parts must include test, .* got select"),
    ],
)
def test_plans_that_make_no_sense(change, message):
    with pytest.raises(SettingError, match=f"^{message}") as caught:
        replace(PLAN, **change)
    assert caught.value.argument == f"steer.{next(iter(change))}"


def test_features_that_are_named_need_no_numbers():
    assert replace(PLAN, choice=FeatureChoice("list", features=(3,)), n_features_list=()).n_features_list == ()


@pytest.mark.parametrize("name", ["operation", "unit", "where", "error"])
def test_recipes_are_checked(name):
    with pytest.raises(SettingError, match=f"^{name} must be one of .*, got melt") as caught:
        replace(CLAMP, **{name: "melt"})
    assert caught.value.argument == f"steer.{name}"


def test_another_chooser_is_refused():
    with pytest.raises(SettingError, match="by must be score, random, list or file, got luck"):
        FeatureChoice("luck")


def test_a_perturbation_is_a_sweep_in_units_of_the_difference():
    plan = PLAN.toward("state", "ctrl", "stim", [0.5, 1.0])
    assert (plan.target, plan.between, plan.parts) == ("state", ("ctrl", "stim"), ("select", "test"))
    assert plan.choice.by == plan.recipe.unit == "difference" and plan.recipe.doses == (0.5, 1.0)
    assert plan.seeds == PLAN.seeds and plan.baselines == PLAN.baselines


@pytest.mark.parametrize(
    "change, batch_key, expected",
    [
        ({"target": "state"}, "donor", "state"),
        ({"choice": FeatureChoice("score", score="label:cell_type/auroc")}, "donor", "cell_type"),
        ({"choice": FeatureChoice("score", score="density/frequency_token")}, "donor", "donor"),
        ({}, "donor", "donor"),
        ({"choice": FeatureChoice("random"), "baselines": ("random_direction",)}, None, None),
    ],
)
def test_the_target_is_named_or_that_of_the_score_or_the_batch(change, batch_key, expected):
    assert target_of(replace(PLAN, **change), batch_key) == expected


@pytest.mark.parametrize("by", ["score", "random"])
def test_a_target_that_is_needed_is_asked_for(by):
    with pytest.raises(DataError, match="no donor or batch column to steer by; name a column as target") as caught:
        target_of(replace(PLAN, choice=FeatureChoice(by)), None)
    assert caught.value.argument == "steer.target"
