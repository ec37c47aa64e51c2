"""``config.yaml`` of a run folder: the settings that the run was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from biosae.artefacts import atomic_write, check_format
from biosae.compat import current_settings
from biosae.errors import ArtefactError, SettingError
from biosae.registry import refuse_code

from .plain import plain, settings_from
from .settings import Settings

CONFIG = "config.yaml"
FORMAT = 1
MADE_BY = "the train stage"


def save_settings(folder: Path, settings: Settings) -> None:
    """Write all settings, with every default filled in."""
    with atomic_write(folder / CONFIG) as temporary:
        text = yaml.safe_dump({"format": FORMAT, **plain(settings)}, sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


def read_settings(folder: Path) -> Settings:
    """Return the settings that a run was trained with.

    Keys that an earlier version did not know have today's defaults; nothing in the file is called or looked up.

    Raises
    ------
    ArtefactError
        If the file is missing or damaged, or holds anything but settings.
    """
    path = folder / CONFIG
    if not path.exists():
        raise ArtefactError(f"{path} does not exist; run the train stage again")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            check_format(path, content.pop("format", None), FORMAT, MADE_BY)
        return settings_from(_plain_settings(content))
    except (yaml.YAMLError, OSError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ArtefactError(f"{path} cannot be read ({reason}); run the train stage again") from error


def _plain_settings(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise SettingError(f"it must hold sections of settings, got {type(content).__name__}")
    content = current_settings(content)
    refuse_code(content)
    return content
