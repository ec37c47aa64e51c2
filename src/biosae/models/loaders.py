"""Loaders of foundation models by name; other packages add theirs by decorator or entry point."""

from __future__ import annotations

from biosae.registry import Registry

LOADERS = Registry(
    "model loader",
    {
        "esm2": "biosae.models.esm2:load_esm2",
        "geneformer": "biosae.models.geneformer:load_geneformer",
        "scfoundation": "biosae.models.scfoundation:load_scfoundation",
        "scgpt": "biosae.models.scgpt:load_scgpt",
    },
    entry_points="biosae.models",
)
