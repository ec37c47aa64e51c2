import numpy as np
import pytest

from biosae.data.near_copies import jaccard, near_copies

LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def drawn(generator, length):
    return "".join(generator.choice(LETTERS, length))


def changed(sequence, places, generator):
    letters = list(sequence)
    for place in places:
        letters[place] = generator.choice(LETTERS[letters[place] != LETTERS])
    return "".join(letters)


def test_the_shared_part_of_kmers_is_that_of_both():
    # MKVLA, KVLAG, VLAGS and KVLAG, VLAGS, LAGST share two of four.
    assert jaccard(frozenset(["MKVLA", "KVLAG", "VLAGS"]), frozenset(["KVLAG", "VLAGS", "LAGST"])) == 2 / 4


def test_mutants_join_their_parent_and_relatives_do_not():
    generator = np.random.default_rng(0)
    parents = [drawn(generator, 120) for _ in range(40)]
    near = [changed(parent, [10, 60, 110], generator) for parent in parents]  # at most 15 of 116 k-mers differ
    far = [changed(parent, range(0, 120, 4), generator) for parent in parents]  # every k-mer differs
    group = near_copies([*parents, *near, *far], 0.5)
    np.testing.assert_array_equal(group[:40], np.arange(40))
    np.testing.assert_array_equal(group[40:80], np.arange(40))
    np.testing.assert_array_equal(group[80:], np.arange(80, 120))


def test_a_bar_decides_which_pairs_are_near():
    generator = np.random.default_rng(1)
    parent = drawn(generator, 104)  # 100 k-mers
    mutant = changed(parent, [20, 40, 60, 80], generator)  # 20 of them differ: 80 of 120 are shared
    assert near_copies([parent, mutant], 2 / 3).tolist() == [0, 0]
    assert near_copies([parent, mutant], 0.68).tolist() == [0, 1]


@pytest.mark.parametrize("block", [1 << 20, 50])
def test_case_short_sequences_and_blocks_make_no_difference(block, monkeypatch):
    monkeypatch.setattr("biosae.data.near_copies.LETTERS_PER_BLOCK", block)
    sequences = ["MKVLAGSTRE", "AC", "mkvlagstre", "AC", "A", "WWWWWWWWWW", "AD"]
    assert near_copies(sequences, 0.5).tolist() == [0, 1, 0, 1, 4, 5, 6]
    assert near_copies([], 0.5).tolist() == []
