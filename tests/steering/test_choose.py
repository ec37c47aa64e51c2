import numpy as np
import pytest

from biosae.errors import DataError, SettingError
from biosae.steering.choose import (
    N_NEAREST,
    checked_features,
    matched_ranking,
    random_ranking,
    ranked_by,
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
    with pytest.raises(SettingError, match=message):
        checked_features(features, 16, "steer.choose.features")


@pytest.mark.parametrize(
    "text", ["3\n7\n12\n", "feature,score\nf3,0.5\nf7,0.4\nf12,0.1\n", "# mine\n3\tbest\n\n7 # next\n12"]
)
def test_files_with_one_feature_a_line(tmp_path, text):
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
    with pytest.raises(DataError, match="steer.choose.file=.*none.txt cannot be read"):
        read_features(tmp_path / "none.txt", 16)
