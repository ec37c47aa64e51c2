import h5py
import numpy as np

from biosae.data.copies import hashes_of_sequences, hashes_of_tokens, hashes_of_vectors
from biosae.data.vectors import find_vectors


def same(hashes):
    """The first sample that each one equals."""
    return [hashes.tolist().index(found) for found in hashes.tolist()]


def test_sequences_are_equal_in_either_case():
    assert same(hashes_of_sequences(["MKV", "MKL", "mkv", "MK"])) == [0, 1, 0, 3]


def test_vectors_are_equal_number_by_number_in_any_block(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    values = [generator.normal(size=(1 + n % 3, 4)).astype("f4") for n in range(12)]
    values[7], values[9] = values[1], values[0]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for n, value in enumerate(values):
            file[f"P{n:02d}"] = value
    expected = [0, 1, 2, 3, 4, 5, 6, 1, 8, 0, 10, 11]
    whole = hashes_of_vectors(find_vectors(tmp_path / "a.h5"))
    monkeypatch.setattr("biosae.data.copies.NUMBERS_PER_BLOCK", 9)
    np.testing.assert_array_equal(hashes_of_vectors(find_vectors(tmp_path / "a.h5")), whole)
    assert same(whole) == expected


def test_tokens_are_equal_in_any_order_and_block(monkeypatch):
    samples = [[(3, 1.0), (5, 2.0)], [], [(5, 2.0), (3, 1.0)], [(3, 2.0), (5, 1.0)], [], [(3, 1.0), (5, 2.0), (7, 0.5)]]
    token, value = (np.array([pair[n] for sample in samples for pair in sample]) for n in (0, 1))
    offsets = np.cumsum([0, *map(len, samples)])
    arguments = (token.astype(np.int32), value.astype(np.float32), offsets)
    whole = hashes_of_tokens(*arguments)
    assert same(whole) == [0, 1, 0, 3, 1, 5]
    assert whole[1] == whole[4] == 0  # samples without tokens are copies of nothing
    for size in (1, 2, 3, 5):
        monkeypatch.setattr("biosae.data.copies.NUMBERS_PER_BLOCK", size)
        np.testing.assert_array_equal(hashes_of_tokens(*arguments), whole)
