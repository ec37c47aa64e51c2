"""Files of ``torch.save``, read as tensors and plain settings; nothing in them is executed."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch

from biosae.errors import reason_of

ASKED = re.compile(r"GLOBAL ([\w.]+)")
DAMAGED = re.compile(r"(Unsupported operand \d+|memo key \S+|pop from empty list)")


def read_plain(path: Path) -> Any:
    """Return the content of a file of tensors and plain settings.

    Raises
    ------
    ValueError
        If it is damaged, or asks for anything else; the message goes behind the name of the file and says for what.
    """
    try:
        # Files of fair-esm keep their settings in a Namespace, which is a plain record.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its reader meets
        raise ValueError(_said(Path(path), error)) from error


def _said(path: Path, error: Exception) -> str:
    """Return the reason without torch's advice, which is to run what the file asks for."""
    if asked := ASKED.search(str(error)):
        advice = "if you trust it, save its tensors alone, torch.save(model.state_dict(), ...), and give that file"
        return f"cannot be read as plain tensors: it asks for {asked[1]}, which may run code; {advice}"
    reason = reason_of(error)
    if path.is_file() and path.stat().st_size == 0:
        reason = "it is empty"
    elif "weights_only" in str(error):
        found = DAMAGED.search(str(error))
        reason = found[1] if found else "its pickle is damaged"
    return f"cannot be read as plain tensors ({reason}); download it again"
