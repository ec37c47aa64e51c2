"""Everything biosae raises on purpose; a command prints the message on one line and exits with 1.

    BiosaeError
    ├── SettingError      a setting or argument out of range, or an unknown name
    ├── DataError         a file of samples, labels, gene sets or annotations that cannot be used
    ├── ModelError        a foundation-model checkpoint that is missing, damaged or of another kind
    ├── ArtefactError     a file of an earlier stage that is missing, damaged or stale
    │   └── InUseError    a folder that another process is writing
    ├── TrainingError     training that cannot go on (a loss that is not a number)
    ├── LostRankError     a process of a run of several that is gone
    └── MissingExtraError an optional dependency that is not installed

Messages say what was expected, what was got, and what to do, in the words of the Python functions: they name
arguments (``max_genes must be at least 1, got 0``, with ``error.argument == "max_genes"``) and stages ("run the train
stage first"). The command line puts its settings and commands in their place.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


class BiosaeError(Exception):
    """Base of every error that biosae raises on purpose.

    Attributes
    ----------
    argument
        The argument at fault, where there is one: ``k``, or ``model.max_genes`` for a field of ``model``. The message
        names it by its last part.
    """

    def __init__(self, message: str, argument: str | None = None):
        super().__init__(message)
        self.argument = argument


class SettingError(BiosaeError, ValueError):
    """A setting or argument is out of range or unknown."""


class DataError(BiosaeError, ValueError):
    """An input file cannot be used as it is."""


class ModelError(BiosaeError, ValueError):
    """A foundation-model checkpoint is missing, damaged or of another kind."""


class ArtefactError(BiosaeError):
    """A file of an earlier stage is missing, damaged or stale."""


class InUseError(ArtefactError):
    """A folder is being written by another process."""


class TrainingError(BiosaeError, RuntimeError):
    """Training cannot go on."""


class LostRankError(BiosaeError):
    """Another process of the same run is gone."""


class MissingExtraError(BiosaeError, ImportError):
    """An optional dependency is not installed."""


@contextmanager
def arguments_of(owner: str) -> Iterator[None]:
    """Raise errors about an argument in the block as errors about a field of ``owner``."""
    try:
        yield
    except BiosaeError as error:
        if error.argument is not None:
            error.argument = f"{owner}.{error.argument}"
        raise


def reason_of(error: BaseException) -> str:
    """Return the first line of what an error says, or the name of its type where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def require(module: str, extra: str) -> ModuleType:
    """The imported optional module, or an error that names the extra which installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        message = f"this needs {package}, which is not installed: pip install 'biosae[{extra}]'"
        raise MissingExtraError(message) from error
