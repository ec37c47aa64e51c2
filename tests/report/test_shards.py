import base64
import gzip
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biosae.report.shards import DTYPES, number, packed, script


def unpack(array):
    return np.frombuffer(base64.b64decode(array["base64"]), np.dtype(DTYPES[array["dtype"]]).newbyteorder("<"))


def content_of(line):
    name, data = re.fullmatch(r'biosae\.receive\("(.*)", "(.*)"\);\n', line).groups()
    return name, json.loads(gzip.decompress(base64.b64decode(data)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_packed_arrays_come_back(dtype):
    values = np.array([0, 1, 250], dtype=DTYPES[dtype])
    assert unpack(packed(values, dtype)).tolist() == values.tolist()


def test_packed_floats_keep_nan():
    assert np.isnan(unpack(packed(np.array([np.nan]), "f4"))).all()


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
