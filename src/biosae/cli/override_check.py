"""The words of a command line, looked at before Hydra reads them: what it says of a slip is about its grammar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from biosae.compat import REMOVED
from biosae.errors import SettingError

DATA_OF = {
    ".h5ad": "h5ad", ".zarr": "h5ad", ".h5": "protein_h5", ".hdf5": "protein_h5", ".fasta": "fasta", ".fa": "fasta",
}  # fmt: skip


def check_words(command: str, words: Sequence[str]) -> None:
    """Stops at the first word that is neither a setting nor an option of Hydra's.

    Raises
    ------
    SettingError
        With the word as it should have been written.
    """
    known, unknown = get_args_parser().parse_known_args(list(words))
    for word in unknown:
        if word.startswith("-"):
            raise SettingError(f"there is no option {word}: settings are written key=value, without dashes")
    parser = OverridesParser.create()
    for word in (*known.overrides, *unknown):
        if "=" not in word and not word.startswith("~"):
            raise SettingError(_bare(command, word, words))
        try:
            override = parser.parse_override(word)
        except HydraException as error:
            raise SettingError(_unreadable(word, error)) from error
        if override.is_sweep_override() and not known.multirun:
            key, _, values = word.partition("=")
            message = f"{word} holds several values: add -m for a sweep, or write a list, {key}=[{values}]"
            raise SettingError(f"{message}; a text with a comma is {key}=\"'...'\"")


def without_removed(words: Sequence[str]) -> list[str]:
    """Return the words without settings of earlier versions that stand at their former default.

    Raises
    ------
    SettingError
        If such a setting has another value.
    """
    kept = []
    for word in words:
        key, _, value = word.partition("=")
        section, _, name = key.rpartition(".")
        if name not in REMOVED.get(section, {}):
            kept.append(word)
        elif yaml.safe_load(value) != REMOVED[section][name]:
            raise SettingError(f"{word}: {key} was removed and has no effect any more; leave it out (see CHANGELOG.md)")
    return kept


def _bare(command: str, word: str, words: Sequence[str]) -> str:
    if any(other.startswith("=") or other.endswith("=") for other in words):
        return f"{word} is no setting: leave no space around the = of key=value"
    data = DATA_OF.get(Path(word).suffix)
    if data is not None:
        return f"{word} is no setting: write biosae {command} data={data} data.path={_quoted(word)}"
    return f"{word} is no setting: they are written key=value (`biosae {command} --help` lists them)"


def _unreadable(word: str, error: HydraException) -> str:
    key, _, value = word.partition("=")
    if value[:1] in ("'", '"', "[", "{") or value.endswith(")"):  # a list, a text in quotes or a function
        return f"{word} cannot be read: {str(error).splitlines()[0]}"
    right = f"{key}={_quoted(value)}"
    return f'{word} cannot be read as it stands: put the value in quotes, inside those of the shell: "{right}"'


def _quoted(value: str) -> str:
    """A text as Hydra takes it: in quotes where it holds a sign of its grammar."""
    try:
        OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return "'{}'".format(value.replace("'", "\\'"))
    return value
