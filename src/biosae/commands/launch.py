"""From a command line to a function of the configuration, with errors on one line."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.logging import RichHandler

from biosae.config.schema import register
from biosae.errors import BiosaeError
from biosae.progress import console

Command = Callable[[DictConfig], None]


def launch(name: str, command: Command) -> None:
    """Runs a command with the configuration ``config/<name>.yaml`` and the overrides in ``sys.argv``.

    An error that biosae or Hydra raises on purpose becomes one line and exit code 1; with
    ``BIOSAE_DEBUG=1`` it keeps its traceback.
    """
    register()
    _log_to_console()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors reach the handler below instead of Hydra's own
    try:
        hydra.main(version_base="1.3", config_path="pkg://biosae.config", config_name=name)(command)()
    except (BiosaeError, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("BIOSAE_DEBUG"):
            raise
        console.print(f"[bold red]error:[/] {_one_line(error)}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped; run the same command again to continue", highlight=False)
        sys.exit(130)


def _log_to_console() -> None:
    handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
    root = logging.getLogger("biosae")
    root.handlers = [handler]
    root.setLevel(logging.INFO)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()).replace("[", r"\[")
    return text + _nearest_key(error)


def _nearest_key(error: Exception) -> str:
    """For a key that does not exist, the most similar one that does."""
    cause: BaseException | None = error
    while cause is not None:
        found = re.search(r"Key '([^']+)' (?:is not in struct|not in)", str(cause))
        if found and isinstance(cause, OmegaConfBaseException) and cause.parent_node is not None:
            known = [str(key) for key in OmegaConf.to_container(cause.parent_node, throw_on_missing=False)]
            near = difflib.get_close_matches(found[1], known, n=1)
            return f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"
        cause = cause.__cause__
    return ""
