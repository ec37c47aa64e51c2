"""Positions of the datasets of an HDF5 file, found without opening each.

Opening a dataset costs some 20 microseconds, and a file of embeddings has hundreds of thousands. Their headers
are alike: two datasets whose headers agree byte for byte, but for the address of the data, the times and the checksum,
have the same type, shape and layout. So one of each kind is opened, and of the rest only the header is read.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from biosae.errors import DataError

V2 = b"OHDR"
TIMES = (0x0E, 0x12)  # message types of modification times


@dataclass(frozen=True)
class Dataset:
    """A dataset of the file; ``offset`` is where its bytes begin, None when they are chunked or compressed."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int | None


def datasets(path: Path) -> list[Dataset]:
    """Find the datasets at the top of an HDF5 file, in the order of their names.

    Raises
    ------
    DataError
        If the file is missing, damaged, empty or not HDF5, or a key is not a dataset.
    """
    if not path.is_file():
        raise DataError(f"path {path} does not exist or is not a file; give an .h5 file", argument="path")
    try:
        with h5py.File(path, "r") as file, path.open("rb") as raw:
            with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found = list(_Index(file, content).datasets())
    except DataError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as HDF5: {' '.join(str(error).split())}") from error
    if not found:
        raise DataError(f"{path} holds no dataset; expected one for each protein, named by its id")
    return found


class _Index:
    """One pass over the links of a file; ``_known`` maps the header of each kind to its shape and type."""

    def __init__(self, file: h5py.File, content: mmap.mmap):
        self._file, self._content = file, content
        self._is_plain = file.userblock_size == 0  # else addresses do not count from the start of the file
        self._known: dict[bytes, tuple[tuple[int, ...], np.dtype]] = {}
        self._varying: dict[int, list[slice]] = {}  # length of a header -> what may differ; the address comes first

    def datasets(self) -> Iterator[Dataset]:
        links: list[tuple[bytes, int]] = []
        self._file.id.links.iterate(lambda name, info: links.append((name, info.u)), info=True)
        for name, address in links:
            yield self._dataset(name, address)

    def _dataset(self, name: bytes, address: int) -> Dataset:
        header = self._header(address)
        varying = self._varying.get(len(header))
        if varying is not None:
            known = self._known.get(_without(header, varying))
            if known is not None:
                return Dataset(name.decode(), *known, int.from_bytes(header[varying[0]], "little"))
        return self._opened(name, header)

    def _opened(self, name: bytes, header: bytes) -> Dataset:
        text = name.decode()
        try:
            found = h5py.h5d.open(self._file.id, name)
        except (KeyError, ValueError, TypeError):
            where = f"{self._file.filename}: {text}"
            raise DataError(f"{where} is a group or a dangling link; expected one dataset for each protein") from None
        offset = found.get_offset()  # None unless the data lie in one piece, as they are read
        if offset is not None and header.count(place := struct.pack("<Q", offset)) == 1:
            start = header.index(place)
            varying = self._varying.setdefault(len(header), [slice(start, start + 8), *_times(header)])
            if varying[0].start == start:
                self._known[_without(header, varying)] = (found.shape, found.dtype)
        return Dataset(text, found.shape, found.dtype, offset)

    def _header(self, address: int) -> bytes:
        """The first block of an object's header; empty when the file is not laid out as expected."""
        if not self._is_plain:
            return b""
        start = self._content[address : address + 34]
        if start[:4] == V2:
            prefix = 6 + (16 if start[5] & 0x20 else 0) + (4 if start[5] & 0x10 else 0)
            width = 1 << (start[5] & 3)
            length = prefix + width + int.from_bytes(start[prefix : prefix + width], "little") + 4
        elif start[:1] == b"\x01":
            length = 16 + int.from_bytes(start[8:12], "little")
        else:
            return b""
        return self._content[address : address + length]


def _times(header: bytes) -> list[slice]:
    """Places of the times and the checksum, which do not depend on the data."""
    if header[:4] == V2:
        times = [slice(6, 22)] if header[5] & 0x20 else []
        return [*times, slice(len(header) - 4, len(header))]
    places, at = [], 16
    while at + 8 <= len(header):
        kind, size = struct.unpack_from("<HH", header, at)
        if kind in TIMES:
            places.append(slice(at + 8, at + 8 + size))
        at += 8 + size
    return places


def _without(header: bytes, places: list[slice]) -> bytes:
    kept = bytearray(header)
    for place in places:
        kept[place] = bytes(place.stop - place.start)
    return bytes(kept)
