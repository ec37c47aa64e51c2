"""Sparse autoencoders that read the biology out of foundation models of cells and proteins."""

from __future__ import annotations

from importlib import import_module
from typing import Any

PUBLIC = {
    "Activations": "biosae.notebook.activations:Activations",
    "Run": "biosae.notebook.run:Run",
    "SAE": "biosae.saes.base:SAE",
    "datasets": "biosae.datasets",
    "load": "biosae.notebook.saes:load",
    "load_model": "biosae.notebook.hosts:load_model",
    "load_run": "biosae.notebook.run:load_run",
    "pl": "biosae.pl",
    "register_model": "biosae.notebook.extend:register_model",
    "register_variant": "biosae.notebook.extend:register_variant",
    "report": "biosae.notebook.page:report",
    "tl": "biosae.tl",
    "train": "biosae.notebook.train:train",
}
"""Public names and where they are, which are imported when they are first used."""

__all__ = [*PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("biosae")
    if name not in PUBLIC:
        raise AttributeError(f"module biosae has no attribute {name}")
    module, _, attribute = PUBLIC[name].partition(":")
    found = import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__() -> list[str]:
    return sorted(__all__)
