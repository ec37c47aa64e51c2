"""Names of what a setting can choose: models, SAE variants, trackers. A file names an entry, never code to run."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from biosae.errors import SettingError

PLAIN = (type(None), bool, int, float, str)
CODE_KEYS = ("_target_", "_args_", "_partial_", "_convert_", "_recursive_")
"""Keys by which Hydra's ``instantiate`` takes a mapping for a call."""


class Registry:
    """Functions or classes by name: ours, those registered by a decorator, and those of installed packages.

    Parameters
    ----------
    what
        What the entries are, for messages.
    ours
        Name -> ``module:attribute``, imported when it is asked for.
    entry_points
        Group of entry points under which installed packages add entries of their own.
    """

    def __init__(self, what: str, ours: Mapping[str, str], entry_points: str):
        self._what, self._ours, self._group = what, dict(ours), entry_points
        self._registered: dict[str, Callable] = {}

    def register(self, name: str) -> Callable[[Callable], Callable]:
        """Return a decorator that adds a function or class under ``name``."""

        def add(entry: Callable) -> Callable:
            self._registered[name] = entry
            return entry

        return add

    def get(self, name: str) -> Callable:
        """Return the entry called ``name``.

        Raises
        ------
        SettingError
            If there is none; the message names the nearest.
        """
        if not isinstance(name, str):
            raise SettingError(f"a {self._what} is chosen by its name, got {name}; {nearest('', self.names())}")
        if name in self._registered:
            return self._registered[name]
        if name in self._ours:
            module, _, attribute = self._ours[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        for point in importlib.metadata.entry_points(group=self._group):
            if point.name == name:
                return point.load()
        raise SettingError(f"there is no {self._what} {name}; {nearest(str(name), self.names())}")

    def name_of(self, entry: Callable) -> str:
        """Return the name under which `get` finds a function or class.

        Raises
        ------
        SettingError
            If it was never registered.
        """
        for name, known in self._registered.items():
            if known is entry:
                return name
        path = f"{entry.__module__}:{entry.__qualname__}"
        installed = {point.name: point.value for point in importlib.metadata.entry_points(group=self._group)}
        for name, known in (self._ours | installed).items():
            if known == path:
                return name
        raise SettingError(
            f"{entry.__qualname__} is not a registered {self._what}; add it by a decorator or entry point"
        )

    def names(self) -> list[str]:
        """Return the names of all entries."""
        installed = importlib.metadata.entry_points(group=self._group).names
        return sorted({*self._ours, *self._registered, *installed})


def load_plugins() -> None:
    """Import the modules that the environment variable ``BIOSAE_PLUGINS`` lists, separated by commas.

    They register models and variants of their own.

    Raises
    ------
    SettingError
        If one cannot be imported.
    """
    for name in filter(None, os.environ.get("BIOSAE_PLUGINS", "").split(",")):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise SettingError(
                f"BIOSAE_PLUGINS={name} cannot be imported: {error}; is its folder in PYTHONPATH?"
            ) from error


def call(function: Callable, settings: Mapping[str, Any], section: str, **given: Any) -> Any:
    """Call a registered function with settings that may come from a file.

    Parameters
    ----------
    settings
        Keyword arguments: texts, numbers, booleans or None, or lists of those.
    section
        Owner of the arguments, for errors; see `errors.BiosaeError`.
    given
        Arguments of the caller, which no setting can name.

    Raises
    ------
    SettingError
        If a setting is not an argument of the function or is not a plain value, or one that is needed is not there.
    """
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if name not in given}
    for name, value in settings.items():
        if name not in parameters:
            message = f"there is no setting {name}; {nearest(str(name), parameters)}"
            raise SettingError(message, argument=f"{section}.{name}")
        if not _is_plain(value):
            message = f"{name} must be a text, a number, true, false or null, got {value}"
            raise SettingError(message, argument=f"{section}.{name}")
    for name, parameter in parameters.items():
        if (
            name not in settings
            and parameter.default is parameter.empty
            and parameter.kind is not parameter.VAR_KEYWORD
        ):
            raise SettingError(f"{name} is needed and has no default", argument=f"{section}.{name}")
    return function(**settings, **given)


def refuse_code(settings: Any) -> None:
    """Raise if anything in ``settings`` would be a call to Hydra, or a value that OmegaConf looks up elsewhere.

    Raises
    ------
    SettingError
        With the first such key or value.
    """
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if key in CODE_KEYS:
                raise SettingError(f"{key}: {value} names code to run, which biosae never takes from a file")
            refuse_code(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            refuse_code(value)
    elif isinstance(settings, str) and "${" in settings:
        raise SettingError(f"{settings} is looked up elsewhere, which a file must not do; write the value itself")


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that ``name`` may be meant for, or all of them, as the end of a message."""
    near = difflib.get_close_matches(name, known := list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"


def _is_plain(value: Any) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, list) and all(isinstance(item, PLAIN) for item in value))
