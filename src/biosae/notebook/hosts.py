"""Foundation models by a short name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from biosae.errors import SettingError
from biosae.models.base import ModelAdapter
from biosae.models.loaders import LOADERS
from biosae.pipeline.models import load_model as load
from biosae.registry import nearest

HOSTS: dict[str, dict[str, Any]] = {
    "geneformer-mini": {"loader": "geneformer", "model_dir": "builtin:geneformer-mini"},
    "geneformer-v1": {"loader": "geneformer", "model_dir": "hf://ctheodoris/Geneformer/Geneformer-V1-10M"},
    "geneformer-v2": {"loader": "geneformer", "model_dir": "hf://ctheodoris/Geneformer/Geneformer-V2-104M"},
    "scgpt": {"loader": "scgpt"},
    "scfoundation": {"loader": "scfoundation"},
    "esm2": {"loader": "esm2", "model_dir": "hf://facebook/esm2_t6_8M_UR50D", "max_residues": 1022},
}


def load_model(
    name: str, model_dir: Path | str | None = None, *, device: str = "auto", **settings: Any
) -> ModelAdapter:
    """Load a foundation model.

    Parameters
    ----------
    name
        ``geneformer-mini`` (inside the package), ``geneformer-v1``, ``geneformer-v2``, ``scgpt``, ``scfoundation``,
        ``esm2``, or the name of a registered loader.
    model_dir
        Folder of the checkpoint, or ``hf://owner/repository/folder``; models without a public default need it.
    device
        ``auto``, or a device of torch.
    settings
        Settings of the loader, such as ``max_genes``, ``pooling``, ``site``, ``precision`` or ``random_init``.

    Raises
    ------
    SettingError
        If there is no such model, or a setting is unknown.
    ArtefactError
        If the checkpoint is missing or damaged.

    Examples
    --------
    >>> import biosae as bs
    >>> model = bs.load_model("geneformer-mini")
    >>> model.n_layers, model.d_model
    (4, 128)
    """
    if name not in HOSTS and name not in LOADERS.names():
        known = sorted({*HOSTS, *LOADERS.names()})
        raise SettingError(f"there is no model {name}; {nearest(name, known)}", argument="name")
    chosen = HOSTS.get(name, {"loader": name}) | ({} if model_dir is None else {"model_dir": str(model_dir)}) | settings
    if name in HOSTS and "model_dir" not in chosen:
        raise SettingError(f"{name} needs model_dir, the folder of its checkpoint", argument="model_dir")
    return load(chosen, device)
