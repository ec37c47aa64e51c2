"""Which SAEs of a sweep share a model, samples, and one pass over activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from omegaconf import DictConfig, ListConfig, OmegaConf

from biosae.artefacts import settings_hash
from biosae.errors import SettingError
from biosae.saes.settings import check_at_least
from biosae.training.trainer import SHARED


def each_layer(configs: Iterable[DictConfig]) -> list[DictConfig]:
    """Configurations of one layer each: one that lists several in ``sae.target_layer`` becomes several.

    Raises
    ------
    SettingError
        If a list is empty, names a layer twice or holds anything else.
    """
    return [one for cfg in configs for one in _of_each_layer(cfg)]


def _of_each_layer(cfg: DictConfig) -> list[DictConfig]:
    layers = cfg.sae.target_layer
    if not isinstance(layers, ListConfig):
        return [cfg]
    if not layers or len(set(layers)) < len(layers) or not all(isinstance(layer, int) for layer in layers):
        raise SettingError(f"sae.target_layer must be a layer or several different ones, such as [1,2], got {layers}")
    return [OmegaConf.merge(cfg, {"sae": {"target_layer": layer}}) for layer in layers]


def with_same_inputs(configs: Iterable[DictConfig]) -> list[list[DictConfig]]:
    """Configurations that differ only in the SAE, its layer and how it learns: they share samples, tokens and model."""

    def shared(settings: dict) -> None:
        del settings["sae"], settings["training"]

    return _grouped(configs, shared)


def passes_of(configs: Iterable[DictConfig]) -> list[Sequence[DictConfig]]:
    """Configurations that learn from the same batches, at most ``experiment.saes_per_pass`` together."""

    def shared(settings: dict) -> None:
        settings["sae"] = settings["sae"]["target_layer"]
        settings["training"] = {name: settings["training"][name] for name in SHARED}

    groups = _grouped(configs, shared)
    return [part for group in groups for part in _parts(group, group[0].experiment.saes_per_pass)]


def _grouped(configs: Iterable[DictConfig], shared: Callable[[dict], None]) -> list[list[DictConfig]]:
    """Configurations with the same settings once ``shared`` has taken out what may differ."""
    groups: dict[str, list[DictConfig]] = {}
    for cfg in configs:
        settings = OmegaConf.to_container(cfg, resolve=True)
        shared(settings)
        groups.setdefault(settings_hash(settings), []).append(cfg)
    return list(groups.values())


def _parts(configs: Sequence[DictConfig], at_most: int) -> Iterator[Sequence[DictConfig]]:
    """Parts of nearly equal size."""
    check_at_least("experiment.saes_per_pass", at_most, 1)
    n_parts = -(-len(configs) // at_most)
    for part in range(n_parts):
        yield configs[part::n_parts]
