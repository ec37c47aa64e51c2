"""The SAEs of a sweep, grouped by the model, samples and pass over activations that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from biosae.artefacts import settings_hash
from biosae.errors import SettingError, arguments_of
from biosae.runs.plain import plain
from biosae.runs.settings import Settings
from biosae.saes.settings import check_at_least
from biosae.training.trainer import SHARED


def each_layer(sweep: Iterable[Settings]) -> list[Settings]:
    """Return settings of one layer each: those with a list of layers become several.

    Raises
    ------
    SettingError
        If a list is empty, names a layer twice or holds anything else.
    """
    return [one for settings in sweep for one in _of_each_layer(settings)]


def _of_each_layer(settings: Settings) -> list[Settings]:
    layers = settings.sae.target_layer
    if not isinstance(layers, list | tuple):
        return [settings]
    if not layers or len(set(layers)) < len(layers) or not all(isinstance(layer, int) for layer in layers):
        message = f"target_layer must be a layer or several different ones, such as [1,2], got {layers}"
        raise SettingError(message, argument="sae.target_layer")
    return [replace(settings, sae=replace(settings.sae, target_layer=layer)) for layer in layers]


def with_same_inputs(sweep: Iterable[Settings]) -> list[list[Settings]]:
    """Group settings that differ only in the SAE, its layer and how it learns: they share samples, tokens and model."""

    def drop_own(content: dict) -> None:
        del content["sae"], content["training"]

    return _grouped(sweep, drop_own)


def passes_of(sweep: Iterable[Settings]) -> list[Sequence[Settings]]:
    """Group settings that learn from the same batches, as many together as the experiment allows."""

    def drop_own(content: dict) -> None:
        content["sae"] = content["sae"]["target_layer"]
        content["training"] = {name: content["training"][name] for name in SHARED}

    groups = _grouped(sweep, drop_own)
    return [part for group in groups for part in _parts(group, group[0].experiment.saes_per_pass)]


def _grouped(sweep: Iterable[Settings], drop_own: Callable[[dict], None]) -> list[list[Settings]]:
    """Group settings that are equal once ``drop_own`` has removed what may differ."""
    groups: dict[str, list[Settings]] = {}
    for settings in sweep:
        content = plain(settings)
        drop_own(content)
        groups.setdefault(settings_hash(content), []).append(settings)
    return list(groups.values())


def _parts(sweep: Sequence[Settings], at_most: int) -> Iterator[Sequence[Settings]]:
    """Yield parts of nearly equal size."""
    with arguments_of("experiment"):
        check_at_least("saes_per_pass", at_most, 1)
    n_parts = -(-len(sweep) // at_most)
    for part in range(n_parts):
        yield sweep[part::n_parts]
