"""Arguments and stages of the library as the settings and commands of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

STAGES = ("train", "features", "analyze", "explain", "steer", "benchmark", "report", "compare", "stability", "sweep")

SECTIONS = {
    "data": ("data", "data.split", "data.preprocess"),
    "model": ("scfm", "plm", "data"),
    "sae": ("sae.hyperparams", "sae.architecture", "sae"),
    "steer": ("steer", "steer.choose", "steer.perturbation"),
}
"""Owner of an argument -> sections of the configuration that may hold it; other owners are sections themselves."""

OTHER_NAMES = {"held_out": "data.preprocess.split"}
"""Argument -> its setting, where that has another name."""


def in_settings(message: str, argument: str | None, cfg: DictConfig | None) -> str:
    """Return a message of the library with the full name of its setting and with commands for stages."""
    message = re.sub(rf"the ({'|'.join(STAGES)}) stage", r"`biosae \1`", message)
    if argument is None or cfg is None:
        return message
    leaf = argument.rpartition(".")[2]
    return re.sub(rf"(?<![\w.]){re.escape(leaf)}(?![\w])", full_key(argument, cfg), message, count=1)


def full_key(argument: str, cfg: DictConfig) -> str:
    """Return the setting that gives an argument its value, such as ``sae.hyperparams.k`` for ``k``.

    An argument that no setting gives, or that several might, stays as it is.
    """
    owner, _, leaf = argument.rpartition(".")
    owner = owner.rpartition(".")[2]
    if leaf in OTHER_NAMES:
        return OTHER_NAMES[leaf]
    keys = [key for key in _keys(cfg) if key.rpartition(".")[2] == leaf]
    if owner:
        sections = SECTIONS.get(owner, (owner,))
        keys = [key for key in keys if key.rpartition(".")[0] in sections]
        keys.sort(key=lambda key: sections.index(key.rpartition(".")[0]))
    if owner == "model":
        unread = "plm" if cfg.get("data", {}).get("kind") == "cells" else "scfm"
        keys = [key for key in keys if not key.startswith(f"{unread}.")]
    return keys[0] if len(keys) == 1 or (owner and keys) else leaf


def _keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    for name in cfg:
        yield prefix + str(name)
        if OmegaConf.is_missing(cfg, name):
            continue
        if isinstance(value := cfg._get_node(name), DictConfig) and not value._is_none():
            yield from _keys(value, f"{prefix}{name}.")
