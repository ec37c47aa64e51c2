"""The configuration that Hydra composed, as the settings that the pipeline takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from biosae.errors import SettingError
from biosae.runs.config_file import read_settings
from biosae.runs.folders import open_run
from biosae.runs.plain import plain, settings_from
from biosae.runs.settings import Settings

SETTINGS_OF_RUN = ("data", "scfm", "plm", "sae", "seed")


def settings_of(cfg: DictConfig) -> Settings:
    """Return a configuration as typed settings."""
    if not cfg.data.get("kind"):
        message = "data.kind is not set; begin your own data YAML with `defaults: [h5ad]`, [fasta] or [protein_h5]"
        raise SettingError(message)
    return settings_from(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))


def reading_settings(cfg: DictConfig) -> Settings:
    """Return the settings of a command that reads the data which its configuration names."""
    settings = settings_of(cfg)
    data = settings.data
    if data.name == "pbmc" and data.path is not None:
        message = f"data.path={data.path} would be taken for the PBMCs that come with biosae"
        raise SettingError(f"{message}; write data=h5ad data.path={data.path}")
    if data.name == "toxins" and data.path is not None:
        message = f"data.path={data.path} would be taken for the proteins that come with biosae"
        raise SettingError(f"{message}; write data=protein_h5 data.path={data.path}")
    check_model_group(data.kind)
    return settings


@contextmanager
def opened_run(cfg: DictConfig) -> Iterator[tuple[Path, Settings]]:
    """Open the run that ``sae_checkpoint`` chooses, and return its folder and the settings to read its data with."""
    settings = settings_of(cfg)
    with open_run(settings.experiment, settings.sae_checkpoint) as folder:
        yield folder, with_settings_of(folder, cfg)


def with_settings_of(folder: Path, cfg: DictConfig) -> Settings:
    """Return settings with data, model and SAE as the run had them, except for what the command line names.

    A group that it chooses (``data=h5ad``) is taken as a whole, of others single settings (``data.n_cells=50``).
    """
    named = [word.partition("=")[0].lstrip("+") for word in HydraConfig.get().overrides.task]
    chosen = {key.partition("/")[0] for key in named if "." not in key}
    trained = OmegaConf.create(plain(read_settings(folder)))
    for key in named:
        if "." in key and key.partition(".")[0] in SETTINGS_OF_RUN:
            OmegaConf.update(trained, key, OmegaConf.select(cfg, key), force_add=True)
    kept = {name: trained[name] for name in SETTINGS_OF_RUN if name not in chosen}
    settings = settings_from(OmegaConf.to_container(cfg, resolve=True) | OmegaConf.to_container(OmegaConf.create(kept)))
    check_model_group(settings.data.kind)
    return settings


def check_model_group(kind: str) -> None:
    """Raise when the command line chooses a model of proteins for cells, or one of cells for proteins."""
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else []  # not set after a sweep was collected
    words = [word.lstrip("+~") for word in given]
    for group, read, advice in (("scfm", "cells", "data=h5ad"), ("plm", "proteins", "data=fasta")):
        unread = [word for word in words if word.startswith((f"{group}=", f"{group}."))]
        if unread and kind != read:
            message = f"{unread[0]} is for {read}, but the data are {kind}; give {advice} data.path=FILE"
            raise SettingError(f"{message}, or leave {group} out")
