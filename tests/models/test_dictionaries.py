"""Gene dictionaries: what is read, what is refused, and that nothing is executed."""

import gzip
import json
import pickle

import numpy as np
import pytest

from biosae.errors import ModelError
from biosae.models.dictionaries import read_dictionary, read_json

CONTENT = {"ENSG1": 3, "ENSG2": 0.25, "ABC": "ENSG1"}


@pytest.mark.parametrize("name", ["d.json", "d.json.gz", "d.pkl"])
def test_reads_every_format(tmp_path, name):
    raw = pickle.dumps(CONTENT, protocol=4) if name.endswith("pkl") else json.dumps(CONTENT).encode()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert read_dictionary(tmp_path / name) == CONTENT


@pytest.mark.parametrize("protocol", [4, 5])
def test_numpy_numbers_become_python_numbers(tmp_path, protocol):
    content = {"a": np.int64(-7), "b": np.float64(0.1), "c": np.float32(0.5), "d": np.array(3, dtype=">i8")[()]}
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    result = read_dictionary(tmp_path / "d.pkl")
    assert result == {"a": -7, "b": 0.1, "c": 0.5, "d": 3}
    assert {type(value) for value in result.values()} == {int, float}


class _Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_a_malicious_pickle_executes_nothing(tmp_path):
    canary = tmp_path / "canary"
    for n, call in enumerate(
        [
            _Call(open, str(canary), "w"),
            _Call(eval, f"open({str(canary)!r}, 'w').close()"),
            _Call(getattr, _Call(__import__, "os"), "system"),
        ]
    ):
        path = tmp_path / f"{n}.pkl"
        path.write_bytes(pickle.dumps({"a": call}))
        with pytest.raises(ModelError, match="is refused"):
            read_dictionary(path)
    assert not canary.exists()


def test_the_canary_would_sing(tmp_path):
    pickle.loads(pickle.dumps(_Call(open, str(tmp_path / "canary"), "w"))).close()
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": [1]}, {1: "a"}, {"a": None}, {"a": np.array([1.0, 2.0])}])
def test_other_content_is_refused(tmp_path, content):
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError):
        read_dictionary(tmp_path / "d.pkl")


def test_numbers_of_other_types_are_refused(tmp_path):
    (tmp_path / "d.pkl").write_bytes(pickle.dumps({"a": np.complex128(1j)}))
    with pytest.raises(ModelError, match="c16"):
        read_dictionary(tmp_path / "d.pkl")


@pytest.mark.parametrize("name", ["d.pkl", "d.json", "d.json.gz"])
@pytest.mark.parametrize("raw", [b"", b"\x80\x04\x95not a pickle", b"version https://git-lfs.github.com/spec/v1"])
def test_damaged_files_are_refused(tmp_path, name, raw):
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(ModelError, match="cannot be read"):
        read_dictionary(tmp_path / name)


@pytest.mark.parametrize(
    "text, message", [("{", "cannot be read as JSON"), ("[1]", "must hold a JSON object"), ('{"a": 1}', "lacks b")]
)
def test_settings_files_are_checked(tmp_path, text, message):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        read_json(tmp_path / "s.json", required={"a": int, "b": str})
