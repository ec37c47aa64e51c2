"""The words of `biosae compare`: the data that they leave open, and settings of single variants."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from omegaconf import DictConfig

from biosae.runs.data_settings import VectorData
from biosae.runs.settings import CompareSettings

from .override_check import DATA_OF

logger = logging.getLogger(__name__)

QUICKSTART = Path("data/per-protein.h5")
SHARED = "|".join(one.name for one in fields(CompareSettings))
SINGLE = re.compile(rf"[+]*compare\.(?!(?:{SHARED})\b)(\w+)\.(.+)")
"""A setting of one variant: ``compare.standard.architecture.layer_norm=false``."""


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


def say_embedded(data: DictConfig) -> None:
    """Log that the proteins which come with biosae were taken, where they were."""
    if data.name == "toxins":
        logger.info("there is no %s here and no data.path=: these are the %s", QUICKSTART, data.description)


def with_variants(words: Sequence[str]) -> list[str]:
    """Return the words with settings of one variant where `CompareSettings` keeps them."""
    return [SINGLE.sub(r"++compare.variants.\1.\2", word) for word in words]
