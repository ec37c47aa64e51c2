"""The shape of the configuration: every key and its type.

Hydra checks names and types against mirrors of the settings' classes. The sections that are configuration groups take
their values from the YAML files of the chosen options, the others from the defaults of the classes.
"""

from __future__ import annotations

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import field, fields, is_dataclass, make_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from biosae.runs.data_settings import DATA_KINDS, Data
from biosae.runs.settings import Settings
from biosae.training.settings import TrainerSettings

GROUPS = ("data", "scfm", "plm", "sae", "buffer", "training", "tracker")
"""Sections that are chosen by group=option."""

ELSEWHERE = {TrainerSettings: ("lr",)}
"""Fields that are no keys of their section; the learning rate stands with the variant, ``sae.hyperparams.lr``."""


@cache
def mirror(kind: type) -> type:
    """Return a dataclass with the fields of another, without its checks and open to overrides."""
    hints = get_type_hints(kind)
    left_out = ELSEWHERE.get(kind, ())
    made = [(f.name, _type(hints[f.name]), _default(kind, f)) for f in fields(kind) if f.name not in left_out]
    if kind is Settings:  # groups of any keys
        made = [(name, Any if hints[name] == dict[str, Any] else hint, default) for name, hint, default in made]
    bases = tuple(mirror(base) for base in kind.__bases__ if is_dataclass(base))
    named = f"{kind.__name__}Config"
    # By its name in this module a job of another process finds the class that it was sent.
    globals()[named] = make_dataclass(named, made, bases=bases, namespace={"__module__": __name__})
    return globals()[named]


def _type(hint: Any) -> Any:
    inner = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
    if inner is None:
        return hint
    return mirror(inner) if hint is inner else mirror(inner) | None


def _default(kind: type, source: Any) -> Any:
    inner = get_type_hints(kind)[source.name]
    is_path = issubclass(kind, Data) and source.name == "path"  # only data=pbmc may do without
    if (kind is Settings and source.name in GROUPS) or kind is TrainerSettings or is_path:
        return field(default=MISSING)
    if is_dataclass(inner):
        return field(default_factory=mirror(inner))
    if source.default_factory is not NO_DEFAULT:
        return field(default_factory=source.default_factory)
    return field(default=MISSING if source.default is NO_DEFAULT else source.default)


CONFIG = mirror(Settings)
DATA = {kind: mirror(node) for kind, node in DATA_KINDS.items()}


def register() -> None:
    """Make the classes known to Hydra; base.yaml and the files of the group data name them in their defaults."""
    store = ConfigStore.instance()
    store.store(name="schema", node=CONFIG)
    for kind, node in DATA.items():
        store.store(group="data/kind", name=kind, node=node)
