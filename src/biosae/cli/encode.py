"""`biosae encode run=FOLDER data.path=FILE`: an SAE that is trained, and cells or sequences that it never saw.

Settings: run= (a run folder); data.path= (cells, or FASTA for an SAE of proteins); out= (a new folder).
For proteins also: sequence= in place of data.path=; variant= (a second sequence, compared with the first);
feature= and value= (a feature that is clamped, and its code: which residues the model then expects).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from biosae.errors import SettingError
from biosae.pipeline.sequences import open_sequence_reader
from biosae.pipeline.write_sequences import write_sequences
from biosae.progress import results
from biosae.run_record import read_run

from .encoded_cells import encode_cells
from .launch import errors_on_one_line

KEYS = ("run", "data.path", "sequence", "variant", "feature", "value", "out")


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(__doc__)
        return
    with errors_on_one_line():
        given = settings_in(sys.argv[1:])
        if read_run(Path(given["run"]))["data"]["kind"] == "cells":
            encode_cells(given)
            return
        reader = open_sequence_reader(given["run"])
        path, sequence, variant = (given.get(key) for key in ("data.path", "sequence", "variant"))
        clamp = (given["feature"], float(given["value"])) if "feature" in given else None
        pages = write_sequences(reader, Path(given.get("out", "encoded")), path, sequence, variant, clamp)
        results.print(f"{len(pages):,} sequences encoded; open {pages[0]}", highlight=False)


def settings_in(words: list[str]) -> dict[str, str]:
    """Return the settings by name.

    Raises
    ------
    SettingError
        If a word is not a setting of this command, or a required setting is missing.
    """
    given = {}
    for word in words:
        key, sign, value = word.partition("=")
        if key not in KEYS or not sign:
            raise SettingError(f"{word} is no setting of encode: it takes {', '.join(f'{key}=' for key in KEYS)}")
        given[key] = value
    if "run" not in given or ("data.path" in given) == ("sequence" in given):
        raise SettingError("encode needs run=FOLDER and either data.path=one.fasta or sequence=MKT...")
    if ("feature" in given) != ("value" in given) or not re.fullmatch(r"-?\d*\.?\d+", given.get("value", "0")):
        raise SettingError("a clamped feature needs both, such as feature=f12 value=20")
    return given
