import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosae.data.split import PARTS, split_groups, split_near_copies, split_samples, with_copies_together
from biosae.errors import DataError, SettingError


@given(st.integers(60, 500), st.floats(0.3, 0.7), st.integers(0, 99))
def test_every_sample_is_in_one_part_and_shares_are_kept(n, held_out, seed):
    split = split_samples(n, held_out, seed)
    together = np.concatenate([split.samples(part) for part in PARTS])
    assert sorted(together) == list(range(n))
    assert abs(len(split.samples("train")) - (1 - held_out) * n) <= 4  # golden-ratio steps stay within a few samples


def test_the_same_seed_gives_the_same_split():
    parts = [split_samples(100, 0.4, seed).part.tolist() for seed in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]


def test_a_rare_stratum_reaches_every_part():
    strata = np.array(["rare"] * 20 + ["common"] * 980)
    split = split_samples(1000, 0.5, 3, strata)
    counts = {part: int((strata[split.samples(part)] == "rare").sum()) for part in PARTS}
    assert abs(counts["train"] - 10) <= 1
    assert min(counts.values()) >= 1


@given(st.integers(4, 30), st.integers(0, 99))
def test_groups_stay_whole_and_every_part_gets_one(n_groups, seed):
    group = np.random.default_rng(seed).integers(0, n_groups, 300).astype(str)
    split = split_groups(group, 0.4, seed)
    owner = {}
    for name, part in zip(group, split.part, strict=True):
        assert owner.setdefault(name, part) == part
    assert set(owner.values()) == set(PARTS)


def test_too_few_groups_missing_groups_and_bad_shares_are_refused():
    with pytest.raises(DataError, match="at least 4 groups, got 2"):
        split_groups(np.array(["a", "b"] * 10), 0.4, 0)
    with pytest.raises(DataError, match="1 of [0-9]+ samples have no group to split by"):
        split_groups(np.array(["a", "b", "c", "d", None], dtype=object), 0.4, 0)
    with pytest.raises(SettingError, match="between 0 and 1, got 1.0"):
        split_samples(100, 1.0, 0)
    with pytest.raises(SettingError, match="too few"):
        split_samples(3, 0.4, 0)


@pytest.mark.parametrize("n", range(4, 12))
@pytest.mark.parametrize("seed", range(5))
def test_few_samples_are_enough_for_four_parts(n, seed):
    split = split_samples(n, 0.2, seed, shares={"validate": 0.25, "select": 0.25, "test": 0.5})
    assert min(split.sizes().values()) >= 1
    assert sum(split.sizes().values()) == n


def test_proteins_are_split_into_80_10_10_where_validate_and_select_share_a_tenth():
    split = split_samples(1000, 0.2, 0, shares={"validate": 0.25, "select": 0.25, "test": 0.5})
    assert split.sizes() == pytest.approx({"train": 800, "validate": 50, "select": 50, "test": 100}, abs=3)
    groups = np.arange(20_000).astype(str)  # a cluster a protein: must not take time that grows with its square
    assert split_groups(groups, 0.2, 0, "cluster").group_key == "cluster"


def test_a_split_without_copies_stays_as_it_is():
    split = split_samples(200, 0.4, 0)
    hashes = np.arange(200, dtype=np.uint64)
    hashes[:50] = 0  # samples that are never copies
    assert with_copies_together(split, hashes) == (split, 0)


def test_the_parts_of_a_seed_are_those_of_earlier_versions():
    assert split_samples(40, 0.4, 0).part.codes.tolist() == [
        0,
        3,
        0,
        0,
        1,
        0,
        1,
        0,
        2,
        3,
        0,
        0,
        0,
        3,
        0,
        3,
        0,
        0,
        0,
        0,
        2,
        2,
        0,
        3,
        0,
        2,
        0,
        0,
        0,
        1,
        1,
        0,
        0,
        0,
        2,
        0,
        0,
        0,
        3,
        2,
    ]


@given(st.integers(0, 99))
def test_copies_stay_in_the_part_of_the_first_and_others_do_not_move(seed):
    generator = np.random.default_rng(seed)
    hashes = generator.permutation(300).astype(np.uint64) + 1
    hashes[100:120] = hashes[:20]
    before = split_samples(300, 0.4, seed)
    after, n_copies = with_copies_together(before, hashes)
    assert n_copies == 40
    np.testing.assert_array_equal(after.part[100:120], before.part[:20])
    others = np.r_[:100, 120:300]
    np.testing.assert_array_equal(after.part[others], before.part[others])


def test_copies_in_several_groups_take_the_earliest_part():
    group = np.repeat([f"d{n}" for n in range(8)], 25)
    before = split_groups(group, 0.4, 0)
    train, test = before.samples("train")[0], before.samples("test")[0]
    hashes = np.arange(1, 201, dtype=np.uint64)
    hashes[test] = hashes[train]
    after, n_copies = with_copies_together(before, hashes)
    assert (n_copies, after.part[test], after.part[train]) == (2, "train", "train")
    assert (np.asarray(after.part) != np.asarray(before.part)).sum() == 1


SHARES = {"validate": 0.25, "select": 0.25, "test": 0.5}


@given(st.integers(0, 30))
def test_near_copies_stay_whole_and_a_class_of_fifty_can_be_scored(seed):
    generator = np.random.default_rng(seed)
    group = generator.integers(0, 700, 1000)
    strata = np.array(["common"] * 900 + ["rare"] * 50 + ["few"] * 5 + [None] * 45, dtype=object)
    split = split_near_copies(group, 0.2, seed, strata, SHARES)
    table = pd.DataFrame({"group": group, "part": split.part, "stratum": strata})
    assert (table.groupby("group")["part"].nunique() == 1).all()
    rare = table[table["stratum"] == "rare"]["part"].value_counts()
    assert rare["select"] >= 3
    assert rare["test"] >= 3
    assert split.sizes() == pytest.approx({"train": 800, "validate": 50, "select": 50, "test": 100}, abs=12)
    again = split_near_copies(group, 0.2, seed, strata, SHARES)
    assert (again.part == split.part).all()


def test_a_split_says_how_large_its_parts_are():
    split = split_samples(1000, 0.2, 0, shares=SHARES)
    assert split.sentence("proteins").startswith("split of 1,000 proteins: train 800 (80.0%), validate 50 (5.0%)")
