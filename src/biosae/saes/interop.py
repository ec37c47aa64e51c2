"""SAEs that other libraries trained, as ours: the same codes, read without running anything from their files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from biosae.errors import ArtefactError, BiosaeError, SettingError
from biosae.json_objects import read_object
from biosae.saes.variants.batchtopk import BatchTopK
from biosae.saes.variants.gated import Gated
from biosae.saes.variants.jumprelu import JumpReLU
from biosae.saes.variants.standard import Standard
from biosae.saes.variants.topk import TopK
from biosae.torch_files import read_plain

from .architecture import Architecture
from .base import SAE

FREE = Architecture(decoder_norm="free")
"""Decoder rows keep the norm that they were trained to."""

SAELENS_IGNORES = {"normalize_activations": "none", "reshape_activations": "none"}


def from_dictionary_learning(folder: Path | str) -> SAE:
    """An SAE of dictionary_learning: ``ae.pt`` beside ``config.json``.

    AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder, AutoEncoderTopK, BatchTopKSAE and
    MatryoshkaBatchTopKSAE are read, with the codes of their ``encode``.

    Raises
    ------
    ArtefactError
        If a file is missing, damaged or holds more than tensors, or the SAE is of another class.
    """
    folder = Path(folder)
    trainer = _read_json(folder / "config.json", {"trainer?": {"dict_class": str}}).get("trainer", {})
    kind, tensors = trainer.get("dict_class"), _read_pt(folder / "ae.pt")
    with _reading(folder):
        return _dictionary(kind, tensors, folder)


def from_interplm(path: Path | str) -> SAE:
    """A ReLU SAE of InterPLM: one of its files such as ``ae_unnormalized.pt``.

    Codes are those of the file as it stands; ``activation_rescale_factor``, which only scales them for display, is left
    out.

    Raises
    ------
    ArtefactError
        If the file is missing, damaged or holds more than tensors, or other ones.
    """
    path = Path(path)
    tensors = _read_pt(path)
    tensors.pop("activation_rescale_factor", None)
    with _reading(path):
        return _dictionary("AutoEncoder", tensors, path)


def from_saelens(folder: Path | str) -> SAE:
    """An SAE of SAELens: ``sae_weights.safetensors`` beside ``cfg.json``; standard, topk, jumprelu or gated.

    Raises
    ------
    ArtefactError
        If a file is missing or damaged, or the SAE is of another architecture.
    SettingError
        If it normalises or reshapes activations, which ours does in another way.
    """
    folder = Path(folder)
    cfg, w = (
        _read_json(folder / "cfg.json", {"architecture": str}),
        _read_safetensors(folder / "sae_weights.safetensors"),
    )
    for name, needed in SAELENS_IGNORES.items():
        if cfg.get(name, needed) != needed:
            raise SettingError(f"{folder} has {name}={cfg[name]}; fold it into the weights first ({name}={needed})")
    subtracts = cfg.get("apply_b_dec_to_input", True)
    with _reading(folder):
        if cfg.get("rescale_acts_by_decoder_norm"):
            norm = w["W_dec"].norm(dim=1)
            w |= {"W_enc": w["W_enc"] * norm, "b_enc": w["b_enc"] * norm, "W_dec": w["W_dec"] / norm[:, None]}
        sae = _saelens_variant(cfg, *w["W_enc"].shape, folder)
        own = {"W_enc": w["W_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
        if isinstance(sae, Gated):
            gate = {"b_enc": w["b_gate"], "gate.r_mag": w["r_mag"], "gate.b_mag": w["b_mag"]}
            return _filled(sae, own | gate, subtracts)
        own["b_enc"] = w["b_enc"]
        return _filled(sae, own | {name: w[name].clamp(min=0) for name in w if name == "threshold"}, subtracts)


def _saelens_variant(cfg: dict[str, Any], d_in: int, d_sae: int, folder: Path) -> SAE:
    kind = cfg.get("architecture")
    if kind == "topk":
        return TopK(d_in, d_sae, k=cfg["k"], architecture=FREE)
    if kind in ("standard", "gated"):
        return {"standard": Standard, "gated": Gated}[kind](d_in, d_sae, l1_coefficient=0.0, architecture=FREE)
    if kind == "jumprelu":
        return JumpReLU(d_in, d_sae, target_l0=1, architecture=FREE)
    raise ArtefactError(f"{folder} is of the architecture {kind}; standard, topk, jumprelu and gated can be read")


def _dictionary(kind: str | None, w: dict[str, Tensor], place: Path) -> SAE:
    if kind == "JumpReluAutoEncoder":
        sae = JumpReLU(*w["W_enc"].shape, target_l0=1, architecture=FREE)
        return _filled(sae, w | {"threshold": w["threshold"].clamp(min=0)}, subtracts_b_dec=False)
    if kind == "MatryoshkaBatchTopKSAE":  # at inference that of BatchTopK
        sae = BatchTopK(*w["W_enc"].shape, k=int(w["k"]), architecture=FREE)
        own = {name: w[name] for name in ("W_enc", "W_dec", "b_enc", "b_dec")}
        return _filled(sae, own | _threshold(w), subtracts_b_dec=True)
    linear = {"W_enc": w["encoder.weight"].T, "W_dec": w["decoder.weight"].T}
    shape = tuple(linear["W_enc"].shape)
    if kind == "AutoEncoder":
        sae = Standard(*shape, l1_coefficient=0.0, architecture=FREE)
        return _filled(sae, linear | {"b_enc": w["encoder.bias"], "b_dec": w["bias"]}, subtracts_b_dec=True)
    if kind == "AutoEncoderNew":
        sae = Standard(*shape, l1_coefficient=0.0, architecture=FREE)
        return _filled(sae, linear | {"b_enc": w["encoder.bias"], "b_dec": w["decoder.bias"]}, subtracts_b_dec=False)
    if kind == "GatedAutoEncoder":
        sae = Gated(*shape, l1_coefficient=0.0, architecture=FREE)
        gate = {"b_enc": w["gate_bias"], "gate.r_mag": w["r_mag"], "gate.b_mag": w["mag_bias"]}
        return _filled(sae, linear | gate | {"b_dec": w["decoder_bias"]}, subtracts_b_dec=True)
    biases = {"b_enc": w.get("encoder.bias"), "b_dec": w.get("b_dec")}
    if kind == "AutoEncoderTopK":
        return _filled(TopK(*shape, k=int(w["k"]), architecture=FREE), linear | biases, subtracts_b_dec=True)
    if kind == "BatchTopKSAE":
        sae = BatchTopK(*shape, k=int(w["k"]), architecture=FREE)
        return _filled(sae, linear | biases | _threshold(w), subtracts_b_dec=True)
    raise ArtefactError(f"{place} holds an SAE of the class {kind}, which cannot be read")


def _threshold(w: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"threshold.average": w["threshold"].double().clamp(min=0), "threshold.weight": torch.ones(())}


def _filled(sae: SAE, tensors: dict[str, Tensor], subtracts_b_dec: bool) -> SAE:
    """Our SAE with these weights; an encoder that does not subtract the decoder bias gets it added to its own."""
    if not subtracts_b_dec:
        shift = tensors["b_dec"].double() @ tensors["W_enc"].double()
        tensors["b_enc"] = (tensors["b_enc"].double() + shift).to(tensors["b_enc"].dtype)
    sae.load_state_dict(sae.state_dict() | tensors)
    return sae.eval()


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    """Turns what tensors of other names or shapes cause into one line."""
    try:
        yield
    except KeyError as error:
        raise ArtefactError(f"{place} lacks the tensor or setting {error}") from error
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, BiosaeError):
            raise
        raise ArtefactError(f"{place} does not hold one SAE: {' '.join(str(error).split())}") from error


def _read_json(path: Path, expected: dict[str, Any]) -> dict[str, Any]:
    try:
        return read_object(path, expected)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}") from error


def _read_pt(path: Path) -> dict[str, Tensor]:
    try:
        content = read_plain(path)
    except ValueError as error:
        raise ArtefactError(f"{path} {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ArtefactError(f"{path} must map names to tensors; is this an SAE?")
    return dict(content)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ArtefactError(f"{path} cannot be read: {error}") from error
