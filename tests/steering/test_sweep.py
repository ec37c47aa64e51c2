import numpy as np
import pytest

from biosae.errors import SettingError
from biosae.steering.activity import Activity
from biosae.steering.sweep import Recipe, sweep

ACTIVITY = Activity(np.linspace(0.01, 0.5, 40), np.linspace(1, 3, 40))
RANKING = np.array([7, 3, 30, 12])
CLAMP = Recipe("clamp", (0.0, 2.0), "scale", "all", "keep")
EVERY = ("matched_features", "random_features", "random_direction", "difference_in_means", "centring")


def settings(ranking=RANKING, counts=(1, 3), recipe=CLAMP, seeds=(0, 1), baselines=EVERY):
    return sweep(ranking, "label:batch/ami", counts, recipe, seeds, baselines, ACTIVITY, "batch")


def of(method, found):
    return [setting for setting in found if setting.method == method]


def test_every_number_of_features_value_and_seed_has_a_setting():
    found = settings()
    assert [(s.n_features, s.value) for s in of("sae", found)] == [(1, 0.0), (1, 2.0), (3, 0.0), (3, 2.0)]
    for method in ("matched_features", "random_features", "random_direction"):
        assert sorted((s.n_features, s.value, s.seed) for s in of(method, found)) == [
            (n, v, s) for n in (1, 3) for v in (0.0, 2.0) for s in (0, 1)
        ]
    assert len(of("difference_in_means", found)) == len(of("centring", found)) == 1
    assert len({s.identity for s in found}) == len(found)


def test_amounts_are_in_each_features_own_scale():
    longest = of("sae", settings())[-1]
    assert longest.features == (7, 3, 30)
    np.testing.assert_allclose(longest.amount, 2 * ACTIVITY.active_scale[[7, 3, 30]])
    assert longest.label == "clamp 3 features to 2 x own scale by label:batch/ami"


def test_matched_features_are_none_that_a_longer_list_edits():
    for setting in of("matched_features", settings()):
        assert not set(setting.features) & {7, 3, 30}


def test_shorter_random_lists_are_the_start_of_longer_ones():
    short, long = (
        next(s for s in of("random_features", settings()) if s.n_features == n and s.seed == 1) for n in (1, 3)
    )
    assert long.features[:1] == short.features


def test_a_random_direction_is_as_long_as_the_edit_it_stands_beside():
    found = settings()
    for setting in of("random_direction", found):
        twin = next(s for s in of("sae", found) if (s.n_features, s.value) == (setting.n_features, setting.value))
        assert (setting.features, setting.amount) == (twin.features, twin.amount)


def test_ablation_has_one_dose():
    found = settings(recipe=Recipe("ablate", (1.0, 2.0), "scale", "all", "keep"), baselines=())
    assert [s.value for s in found] == [0.0, 0.0]


def test_random_features_alone():
    found = settings(ranking=None, baselines=())
    assert {s.method for s in found} == {"random_features"} and len(found) == 8


@pytest.mark.parametrize(
    "change, message",
    [
        ({"counts": (1, 9)}, "asks for 9 features, but label:batch/ami gives 4"),
        ({"counts": ()}, "must hold numbers above 0"),
        ({"counts": (0, 2)}, "must hold numbers above 0"),
        ({"seeds": ()}, "steer.seeds must hold at least one"),
        ({"baselines": ("luck",)}, "steer.baselines must be some of .*, got luck"),
    ],
)
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(SettingError, match=message):
        settings(**change)


@pytest.mark.parametrize("name", ["operation", "unit", "where", "error"])
def test_recipes_are_checked(name):
    recipe = {"operation": "clamp", "values": (1.0,), "unit": "scale", "where": "all", "error": "keep"}
    with pytest.raises(SettingError, match=f"steer.{name} must be one of .*, got melt"):
        Recipe(**recipe | {name: "melt"})
