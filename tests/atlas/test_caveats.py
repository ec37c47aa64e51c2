import copy
from dataclasses import replace

from biosae.atlas.caveats import caveats


def titles(run, **settings):
    changed = copy.deepcopy(run.settings)
    for place, value in settings.items():
        group, _, key = place.partition("__")
        changed[group][key] = value
    return [caveat.title for caveat in caveats(replace(run, settings=changed))]


def test_small_ungrouped_run_raises_every_question_but_those_of_quality(run):
    expected = ["No held-out donors", "The host may have seen these samples", "One seed", "Few samples", "Rare classes"]
    assert titles(run) == expected


def test_split_by_donor_answers_the_donor_question(run):
    run = replace(run, table=run.table.copy())
    run.table.obs["donor"] = [str(i % 8) for i in range(run.table.n_obs)]
    assert "No held-out donors" not in titles(run, split__group_key="donor")
    run.table.obs["donor"] = [str(i % 2) for i in range(run.table.n_obs)]
    assert "Few groups" in titles(run, split__group_key="donor")


def test_no_test_samples(run):
    assert titles(run, split__n={"train": 300})[0] == "No held-out samples"


def test_host_pretrained_on_other_data_is_no_concern(run):
    assert "The host may have seen these samples" not in titles(run, model__pretrained_on=["other"])
    assert "The host saw these samples" in titles(run, model__pretrained_on=[run.settings["data"]["hash"]])


def test_poor_reconstruction_and_dead_features(run):
    poor = replace(run, evaluation={"fvu": 0.7, "dead_fraction": 0.4})
    assert [caveat.title for caveat in caveats(poor)][-2:] == ["Poor reconstruction", "Many dead features"]


def test_a_page_without_labels_says_how_to_have_some(run):
    for labels in (None, run.labels[:0]):
        found = caveats(replace(run, labels=labels))
        assert [caveat for caveat in found if caveat.title == "No label was scored" and "label_keys" in caveat.text]
