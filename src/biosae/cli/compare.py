"""`biosae compare`: several SAE variants trained on the same activations, in one pass over them."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from biosae.errors import SettingError
from biosae.pipeline.compare import compare as compare_variants
from biosae.runs.data_settings import VectorData
from biosae.runs.settings import CompareSettings, SaeSettings

from .launch import launch
from .override_check import DATA_OF
from .settings import reading_settings, settings_of

logger = logging.getLogger(__name__)

PREFIX = "compare.hyperparams."
QUICKSTART = Path("data/per-protein.h5")
SHARED = "|".join(one.name for one in fields(CompareSettings))
SINGLE = re.compile(rf"[+]*compare\.(?!(?:{SHARED})\b)(\w+)\.(.+)")
"""A setting of one variant: ``compare.standard.architecture.layer_norm=false``."""


def main() -> None:
    sys.argv[1:] = with_variants(with_data(sys.argv[1:]))
    launch("compare", compare)


def compare(cfg: DictConfig) -> None:
    """Train ``compare.saes`` side by side."""
    variants = variants_of(cfg)
    if cfg.data.name == "toxins":
        logger.info("there is no %s here and no data.path=: these are the %s", QUICKSTART, cfg.data.description)
    compare_variants(reading_settings(cfg), variants)


def with_data(words: Sequence[str]) -> list[str]:
    """Return the words with a choice of data where they make none.

    It is that of the file's kind when ``data.path=`` names one, else ``data/per-protein.h5`` when it exists, else the
    proteins that come with biosae. Words for cells keep the cells that come with biosae.
    """
    names = [word.partition("=")[0].lstrip("+~") for word in words]
    known = {f"data.{one.name}" for one in fields(VectorData)}
    is_for_cells = any(
        name.startswith("scfm") or (name.startswith("data.") and ".".join(name.split(".")[:2]) not in known)
        for name in names
    )
    if is_for_cells or any(name == "data" or name.startswith("-") for name in names):
        return list(words)
    if "data.path" in names:
        path = words[names.index("data.path")].partition("=")[2].strip("'\"")
        data = DATA_OF.get(Path(path).suffix)
        return list(words) if data is None else [f"data={data}", *words]
    return ["data=protein_h5", f"data.path={QUICKSTART}", *words] if QUICKSTART.exists() else ["data=toxins", *words]


def with_variants(words: Sequence[str]) -> list[str]:
    """Return the words with settings of one variant where `CompareSettings` keeps them."""
    return [SINGLE.sub(r"++compare.variants.\1.\2", word) for word in words]


def variants_of(cfg: DictConfig) -> dict[str, SaeSettings]:
    """Return the settings of each variant, from its own YAML.

    Raises
    ------
    SettingError
        If no variant is named, one is named twice, or a hyperparameter belongs to none of them.
    """
    names = list(cfg.compare.saes)
    if not names or len(set(names)) < len(names):
        raise SettingError(f"compare.saes must name different variants, got {', '.join(names) or 'none'}")
    given = list(HydraConfig.get().overrides.task)
    of_one_sae = [word for word in given if word.startswith(("sae=", "sae.")) and "sae.target_layer" not in word]
    if of_one_sae:
        message = f"{of_one_sae[0]} applies to a single SAE"
        raise SettingError(f"{message}; compare takes compare.saes=, {PREFIX[:-1]} and the like")
    variants = {name: settings_of(hydra.compose("compare", [*given, f"sae={name}"])).sae for name in names}
    known = {name for variant in variants.values() for name in variant.hyperparams}
    asked = [word.lstrip("+").removeprefix(PREFIX).partition("=")[0] for word in given if PREFIX in word]
    singles = [word.split(".")[2] for word in given if word.lstrip("+").startswith("compare.variants.")]
    if others := [name for name in singles if name not in names]:
        raise SettingError(f"compare.{others[0]} is none of the variants {', '.join(names)}")
    if unknown := [name for name in asked if name not in known]:
        raise SettingError(f"{PREFIX}{unknown[0]} belongs to none of {', '.join(names)}")
    return variants
