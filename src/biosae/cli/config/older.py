"""Today's defaults for the configuration of a run that an older version made."""

from __future__ import annotations

from importlib import resources
from typing import Any

from omegaconf import DictConfig, OmegaConf

from .schema import DATA_KINDS, Autoencoder, Buffer


def filled(cfg: DictConfig) -> DictConfig:
    """The configuration with the keys that its sections data, sae, buffer and training lack.

    A key without a default stays absent: it was always written.
    """
    kind = cfg.get("data", {}).get("kind", "cells")
    shapes = {"data": DATA_KINDS.get(kind, DATA_KINDS["cells"]), "sae": Autoencoder, "buffer": Buffer}
    defaults = {name: _set(OmegaConf.to_container(OmegaConf.structured(shape))) for name, shape in shapes.items()}
    with resources.files("biosae.cli.config").joinpath("training/default.yaml").open(encoding="utf-8") as file:
        defaults["training"] = OmegaConf.load(file)
    return OmegaConf.merge({name: section for name, section in defaults.items() if name in cfg}, cfg)


def _set(section: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _set(value) if isinstance(value, dict) else value for name, value in section.items() if value != "???"
    }
