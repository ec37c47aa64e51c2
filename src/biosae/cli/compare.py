"""`biosae compare`: several SAE variants trained on the same activations, in one pass over them."""

from __future__ import annotations

import sys

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from biosae.errors import SettingError
from biosae.pipeline.compare import compare as compare_variants
from biosae.runs.settings import SaeSettings

from .compare_words import say_embedded, with_data, with_variants
from .launch import launch
from .settings import reading_settings, settings_of

PREFIX = "compare.hyperparams."


def main() -> None:
    sys.argv[1:] = with_variants(with_data(sys.argv[1:]))
    launch("compare", compare)


def compare(cfg: DictConfig) -> None:
    """Train ``compare.saes`` side by side."""
    variants = variants_of(cfg)
    say_embedded(cfg.data)
    compare_variants(reading_settings(cfg), variants)


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
