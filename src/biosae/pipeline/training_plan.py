"""Preparation of a training run, before it has a folder: checked settings, an untrained SAE, its activations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import psutil

from biosae.activations.source import ActivationSource
from biosae.activations.store import ActivationStore
from biosae.activations.stream import StreamedActivations
from biosae.artefacts import settings_hash
from biosae.distributed.exchange import row_exchange
from biosae.errors import SettingError, arguments_of
from biosae.runs.plain import plain
from biosae.runs.settings import SaeSettings, Settings
from biosae.saes.base import SAE
from biosae.saes.build import VARIANTS, build
from biosae.saes.settings import UNKNOWN_SIZE, make_settings
from biosae.training.settings import TrainerSettings

from .models import choose_device
from .prepare import PreparedData, stored_activations

SETTINGS_OF_TRAINING = ("data", "scfm", "plm", "sae", "training", "buffer", "seed", "device", "compare")
TRAINED_ON = {"train": ("train",), "validate": ("validate",)}


@dataclass(frozen=True)
class TrainingPlan:
    """Untrained SAEs and how to train them: everything that is read and checked before runs have folders."""

    together: Sequence[Settings]
    built: Sequence[tuple[SAE, TrainerSettings]]
    prepared: PreparedData
    layer: int
    sources: Mapping[str, ActivationSource]
    store: ActivationStore | None


def plan_training(
    together: Sequence[Settings], prepared: PreparedData, also_layers: Sequence[int] = ()
) -> TrainingPlan:
    """Check every setting and extract the activations, which all SAEs share."""
    built = [build_sae(settings, prepared.adapter.d_model) for settings in together]
    layer = prepared.layer_index(together[0].sae.target_layer)
    found, store = sources(together[0], prepared, layer, TRAINED_ON, also_layers)
    return TrainingPlan(together, built, prepared, layer, found, store)


def identity(settings: Settings, prepared: PreparedData) -> str:
    """Return a hash of what decides the weights: settings, the samples' tokens and parts, and the model."""
    content = plain(settings)
    content = {name: content[name] for name in SETTINGS_OF_TRAINING}
    content["buffer"].pop("also_layers")
    read = {"model": prepared.adapter.fingerprint, "beside_tokens": prepared.adapter.reads_beside_tokens}
    part = hashlib.sha256(prepared.split.part.codes).hexdigest()
    return settings_hash({"settings": content, "tokens": prepared.sequences.hash, "split": part, **read})


def check_settings(sae: SaeSettings, training: TrainerSettings, device: str) -> None:
    """Raise what is wrong with the settings of an SAE and its training whatever the data are, before data are read."""
    hyperparams = dict(sae.hyperparams)
    with arguments_of("sae"):
        replace(training, lr=hyperparams.pop("lr", None))
        kind = VARIANTS.get(sae.variant)
        make_settings(kind.Settings, hyperparams, UNKNOWN_SIZE, kind.__name__)
    choose_device(device)


def build_sae(settings: Settings, d_in: int) -> tuple[SAE, TrainerSettings]:
    """Return the untrained SAE and how to train it; every setting of theirs is checked here."""
    d_sae = _dictionary_size(settings.sae.dictionary_multiplier, d_in)
    hyperparams = dict(settings.sae.hyperparams)
    with arguments_of("sae"):
        trainer = replace(settings.training, lr=hyperparams.pop("lr", None))
        sae = build(settings.sae.variant, d_in, d_sae, hyperparams, settings.seed, settings.sae.architecture)
    return sae.to(choose_device(settings.device)), trainer


def _dictionary_size(multiplier: float, d_in: int) -> int:
    """Return the number of features, where there is at least one and encoder and decoder fit into memory."""
    if not 0 < multiplier < inf or (d_sae := round(multiplier * d_in)) < 1:
        message = f"dictionary_multiplier must be a number of at least {1 / d_in:.3g}, got {multiplier}"
        raise SettingError(message, argument="sae.dictionary_multiplier")
    needed, there = 2 * 4 * d_in * d_sae, psutil.virtual_memory().total
    if needed > there:
        message = f"dictionary_multiplier={multiplier:g} makes {d_sae:,} features, whose float32 weights need"
        message = f"{message} {needed / 1e9:,.0f} GB; this machine has {there / 1e9:,.0f} GB"
        raise SettingError(message, argument="sae.dictionary_multiplier")
    return d_sae


def sources(
    settings: Settings,
    prepared: PreparedData,
    layer: int,
    splits: Mapping[str, Sequence[str]] = TRAINED_ON,
    also_layers: Sequence[int] = (),
) -> tuple[dict[str, ActivationSource], ActivationStore | None]:
    """Return the activations of the parts that make up each split, and the store behind them when there is one."""
    buffer = settings.buffer
    samples = {name: prepared.split.samples(*parts) for name, parts in splits.items()}
    if buffer.kind == "store":
        store = stored_activations(settings, prepared, layer, also_layers)
        return {name: store.content_of(rows, buffer.buffer_tokens) for name, rows in samples.items()}, store
    if buffer.kind == "stream":
        model, size = (prepared.adapter, prepared.sequences), (buffer.buffer_tokens, buffer.tokens_per_batch)
        streams = {
            name: StreamedActivations(*model, rows, layer, *size, row_exchange(name)) for name, rows in samples.items()
        }
        return streams, None
    raise SettingError(f"kind must be store or stream, got {buffer.kind}", argument="buffer.kind")
