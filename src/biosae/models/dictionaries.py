"""Dictionaries of names, tokens and medians, read from JSON or from a pickle that may hold nothing else."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from biosae.errors import ModelError
from biosae.json_objects import misfit, read_object

SUFFIXES = (".json", ".json.gz", ".pkl")
NUMBER_CODES = {"i4", "i8", "f4", "f8"}


def read_dictionary(path: Path) -> dict[str, int | float | str]:
    """Read a dictionary of plain values from ``.json``, ``.json.gz`` or ``.pkl``.

    Raises
    ------
    ModelError
        If the file is damaged, does not map names to numbers or names, or is a pickle that
        asks for anything besides numpy numbers; nothing in it is executed.
    """
    try:
        content = _read(Path(path))
    except ModelError:
        raise
    except Exception as error:  # a damaged pickle can raise any exception
        raise ModelError(f"{path} cannot be read as a dictionary: {error or type(error).__name__}") from error
    return _checked(content, path)


def read_json(path: Path, required: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read the object in a JSON file of settings, with the required keys and their types (`json_objects.misfit`)."""
    try:
        content = read_object(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    check_settings(content, required or {}, path)
    return content


def check_settings(content: Any, required: Mapping[str, Any], path: Path) -> None:
    """Raise `ModelError` unless settings of a model have the required keys and types."""
    if wrong := misfit(content, required):
        raise ModelError(f"{path} cannot be used: {wrong}; is it the file that was published with the model?")


def _read(path: Path) -> Any:
    if path.name.endswith(".pkl"):
        with path.open("rb") as file:
            return _NumbersOnly(file, path).load()
    raw = path.read_bytes()
    return json.loads(gzip.decompress(raw) if path.name.endswith(".gz") else raw)


def _checked(content: Any, path: Path) -> dict[str, int | float | str]:
    if type(content) is not dict or not content:
        raise ModelError(f"{path} must hold a dictionary with entries, got {type(content).__name__}")
    for key, value in content.items():
        if type(key) is not str or type(value) not in (int, float, str):
            message = f"{path} must map names to numbers or names, got {type(key).__name__} to {type(value).__name__}"
            raise ModelError(message)
    return content


class _NumbersOnly(pickle.Unpickler):
    """Reads pickled containers, strings and numbers; numpy numbers become Python numbers.

    Published Geneformer dictionaries hold ``numpy.float64`` medians and ``numpy.int64`` tokens,
    pickled as two globals. Both are replaced by the stand-ins below, so that no code of any
    library is ever looked up.
    """

    def __init__(self, file: BinaryIO, path: Path):
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> type:
        if (module, name) in (("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")):
            return _Number
        if (module, name) == ("numpy", "dtype"):
            return _NumberType
        message = f"{self._path} is refused: its pickle asks for {module}.{name}, and only names and numbers are read"
        raise ModelError(f"{message}; if you trust it, load it in Python, json.dump it as .json and give that file")


class _NumberType:
    """The content of a pickled ``numpy.dtype``: a code such as ``f8`` and the byte order."""

    def __init__(self, code: str, align: bool, copy: bool):
        if code not in NUMBER_CODES:
            raise ValueError(f"numbers must be of type {', '.join(sorted(NUMBER_CODES))}, got {code}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Number:
    """Stands in for numpy's scalar constructor; an instance is never made, a Python number is."""

    def __new__(cls, number_type: _NumberType, data: bytes) -> int | float:
        return np.frombuffer(data, number_type.dtype, count=1)[0].item()

    def __setstate__(self, state: object) -> None:
        raise ValueError("a number has no state")
