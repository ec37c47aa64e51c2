import base64
import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosae.atlas.page_data import DTYPES, number, packed, script


def content_of(line):
    """What the page reads out of a shard, by the layout that docs/formats.md describes."""
    name, data = re.fullmatch(r'biosae\.receive\("(.*)", "(.*)"\);\n', line).groups()
    raw = gzip.decompress(base64.b64decode(data))
    start = 4 + int.from_bytes(raw[:4], "little")
    assert start % 4 == 0

    def array(node):
        if set(node) != {"dtype", "at", "n"}:
            return node
        assert node["at"] % 4 == 0
        return np.frombuffer(raw, "<" + node["dtype"], node["n"], start + node["at"]).tolist()

    return name, json.loads(raw[4:start], object_hook=array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_arrays_come_back(dtype):
    values = np.array([0, 1, 250], dtype=DTYPES[dtype])
    line = script("x", {"first": packed(np.array([7]), "u1"), "list": [{"second": packed(values, dtype)}]})
    assert content_of(line) == ("x", {"first": [7], "list": [{"second": values.tolist()}]})


def test_packed_floats_keep_nan():
    assert np.isnan(content_of(script("x", {"a": packed(np.array([np.nan]), "f4")}))[1]["a"]).all()


@given(st.text())
def test_any_text_travels_and_none_of_it_is_markup(text):
    line = script("core", {"text": text})
    assert content_of(line) == ("core", {"text": text})
    assert "<" not in line
    assert line.count('"') == 4


def test_equal_content_gives_equal_bytes():
    assert script("core", {"a": 1}) == script("core", {"a": 1})


def test_numbers_that_json_cannot_say_are_none():
    assert [number(v) for v in (1, np.nan, np.inf, None)] == [1.0, None, None, None]
