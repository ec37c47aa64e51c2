"""An SAE from the name of its class and its settings, both checked before anything is made."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from numbers import Real
from typing import Any

from biosae.errors import SettingError

from .architecture import PLAIN, Architecture
from .base import SAE

PACKAGE = "biosae.saes."
SHARED = ("d_in", "d_sae", "seed", "architecture")


def build(
    target: str,
    d_in: int,
    d_sae: int,
    hyperparams: Mapping[str, Any],
    seed: int = 0,
    architecture: Architecture = PLAIN,
) -> SAE:
    """A freshly initialised SAE.

    Parameters
    ----------
    target
        Full name of a variant's class, such as ``biosae.saes.topk.TopK``.
    hyperparams
        The variant's own settings; unknown or missing ones raise `SettingError`.
    """
    variant = variant_class(target)
    _check_names(variant, hyperparams)
    return variant(d_in=d_in, d_sae=d_sae, seed=seed, architecture=architecture, **hyperparams)


def variant_class(target: str) -> type[SAE]:
    """The class a target names. Only SAE classes of this package are accepted, as targets come from files."""
    module_name, _, class_name = target.rpartition(".")
    if not module_name.startswith(PACKAGE):
        raise SettingError(f"an SAE class must be named like {PACKAGE}topk.TopK, got {target}")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        raise SettingError(f"there is no SAE class {target}") from None
    if not (inspect.isclass(found) and issubclass(found, SAE) and not inspect.isabstract(found)):
        raise SettingError(f"{target} is not an SAE class")
    return found


def _check_names(variant: type[SAE], hyperparams: Mapping[str, Any]) -> None:
    parameters = inspect.signature(variant).parameters
    own = {name: p for name, p in parameters.items() if name not in SHARED}
    for name in hyperparams:
        if name not in own:
            nearest = difflib.get_close_matches(name, own, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"it takes {', '.join(own)}"
            raise SettingError(f"{variant.__name__} has no hyperparameter {name}; {hint}")
        if own[name].annotation in ("int", "float") and not isinstance(hyperparams[name], Real):
            raise SettingError(f"{name} must be a number, got {hyperparams[name]}")
    missing = [name for name, p in own.items() if p.default is p.empty and name not in hyperparams]
    if missing:
        raise SettingError(f"{variant.__name__} needs the hyperparameter {missing[0]}")
