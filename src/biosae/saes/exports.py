"""SAEs of ours as files of other libraries, with the same codes in activation units."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor

from biosae.artefacts import atomic_folder
from biosae.errors import SettingError

if TYPE_CHECKING:
    from .base import SAE

SELECTIONS = {
    **dict.fromkeys(("Standard", "PAnneal"), "relu"),
    **dict.fromkeys(("TopK", "GumbelTopK"), "topk"),
    **dict.fromkeys(("BatchTopK", "Matryoshka", "JumpReLU"), "threshold"),
    **dict.fromkeys(("Gated", "GatedAnneal"), "gated"),
}
"""Variant to how it selects codes at inference."""


def export(sae: SAE, library: str, folder: Path | str) -> Path:
    """Write an SAE as another library reads it, and return the folder.

    The normaliser is folded into the weights, so that codes are in the units of the activations. Batch-wise selections
    become their inference threshold, and annealed or noisy ones what they are at inference.

    Parameters
    ----------
    library
        ``saelens`` or ``dictionary_learning``.
    folder
        A new folder, or one that is replaced.

    Raises
    ------
    SettingError
        If the library has no such SAE: layer normalisation, or a variant that is not one of ours.
    """
    if library not in WRITERS:
        raise SettingError(f"library must be {' or '.join(WRITERS)}, got {library}", argument="library")
    if type(sae).__name__ not in SELECTIONS:
        raise SettingError(f"{type(sae).__name__} has no counterpart in {library}", argument="library")
    folded = sae.fold()
    with atomic_folder(Path(folder)) as temporary:
        WRITERS[library](folded, SELECTIONS[type(sae).__name__], temporary)
    return Path(folder)


def _to_saelens(sae: SAE, selection: str, folder: Path) -> None:
    kinds = {"relu": "standard", "topk": "topk", "threshold": "jumprelu", "gated": "gated"}
    config = {"architecture": kinds[selection], "d_in": sae.d_in, "d_sae": sae.d_sae, "dtype": "float32"}
    config |= {"apply_b_dec_to_input": True, "normalize_activations": "none", "reshape_activations": "none"}
    tensors = {name: getattr(sae, name) for name in ("W_enc", "W_dec", "b_dec")}
    if selection == "gated":
        tensors |= {"b_gate": sae.b_enc, "r_mag": sae.gate.r_mag, "b_mag": sae.gate.b_mag}
    else:
        tensors["b_enc"] = sae.b_enc
    if selection == "topk":
        config["k"] = sae.settings.k
    if selection == "threshold":
        tensors["threshold"] = _thresholds(sae)
    save_file(_plain(tensors), folder / "sae_weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def _to_dictionary_learning(sae: SAE, selection: str, folder: Path) -> None:
    kinds = {"relu": "AutoEncoder", "topk": "AutoEncoderTopK", "threshold": "JumpReluAutoEncoder", "gated": "Gated"}
    tensors = {"encoder.weight": sae.W_enc.t(), "decoder.weight": sae.W_dec.t()}
    if selection == "relu":
        tensors |= {"encoder.bias": sae.b_enc, "bias": sae.b_dec}
    elif selection == "topk":
        tensors |= {"encoder.bias": sae.b_enc, "b_dec": sae.b_dec, "k": torch.tensor(sae.settings.k)}
    elif selection == "gated":
        own = {"gate_bias": sae.b_enc, "r_mag": sae.gate.r_mag, "mag_bias": sae.gate.b_mag, "decoder_bias": sae.b_dec}
        kinds, tensors = {"gated": "GatedAutoEncoder"}, tensors | own
    else:  # its encoder does not subtract the decoder's bias
        b_enc = sae.b_enc.double() - sae.b_dec.double() @ sae.W_enc.double()
        tensors = {"W_enc": sae.W_enc, "W_dec": sae.W_dec, "b_enc": b_enc.float(), "b_dec": sae.b_dec}
        tensors["threshold"] = _thresholds(sae)
    torch.save(_plain(tensors), folder / "ae.pt")
    trainer = {"dict_class": kinds[selection], "activation_dim": sae.d_in, "dict_size": sae.d_sae}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}, indent=1), encoding="utf-8")


WRITERS: dict[str, Callable[[SAE, str, Path], None]] = {
    "saelens": _to_saelens,
    "dictionary_learning": _to_dictionary_learning,
}


def _thresholds(sae: SAE) -> Tensor:
    """``(d_sae,)`` code above which each feature fires."""
    threshold = sae.threshold.value if isinstance(sae.threshold, torch.nn.Module) else sae.threshold
    return threshold.detach().float().clamp(min=0).expand(sae.d_sae)


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
