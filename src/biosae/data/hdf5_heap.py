"""A check of the heaps in which HDF5 keeps strings of varying length.

The HDF5 library walks through such a heap object by object, and stays for ever at free space of size 0, as bytes that
a broken copy left at zero describe it. Nothing in Python can end that call, so heaps are looked at first.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from biosae.errors import DataError

SIGNATURE = b"GCOL\x01\0\0\0"  # with its version
HEADER, OBJECT = struct.Struct("<8sQ"), struct.Struct("<HHIQ")
"""Of a heap: signature and size in bytes. Of an object: number (0 is free space), references, reserved, size."""


def check_string_heaps(path: Path) -> None:
    """Raise `DataError` if a heap of an HDF5 file would keep the HDF5 library busy for ever.

    The file is searched from end to end, at the speed of reading it.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(SIGNATURE)
        while start >= 0:
            if _is_endless(content, start):
                message = f"{path} is damaged: the strings at byte {start:,} are overwritten with zeros"
                raise DataError(f"{message}; copy the file again", argument="path")
            start = content.find(SIGNATURE, start + 8)


def _is_endless(content: mmap.mmap, start: int) -> bool:
    if start + HEADER.size > len(content):
        return False
    end = min(start + HEADER.unpack_from(content, start)[1], len(content))
    at = start + HEADER.size
    while at + OBJECT.size <= end:
        number, _, _, size = OBJECT.unpack_from(content, at)
        if number == 0 and size == 0:
            return True
        at += size if number == 0 else OBJECT.size + -(-size // 8) * 8
    return False
