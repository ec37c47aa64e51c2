"""From a command line to a function of the configuration, with errors on one line."""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import resources

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from rich.logging import RichHandler
from rich.markup import escape

from biosae.cli.config.schema import register
from biosae.errors import BiosaeError, SettingError
from biosae.progress import console
from biosae.registry import load_plugins

from .keys import in_settings
from .override_check import check_words, without_removed

Command = Callable[[DictConfig], object]
Sweep = Callable[[Sequence[DictConfig]], None]
ONE_BY_ONE = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"

SHARED = ("train", "features")
"""Commands that several processes of torchrun do together."""


def launch(name: str, command: Command, sweep: Sweep | None = None) -> None:
    """Runs a command with the configuration ``config/<name>.yaml`` and the overrides in ``sys.argv``.

    An error that biosae or Hydra raises on purpose becomes one line and exit code 1; with
    ``BIOSAE_DEBUG=1`` it keeps its traceback.

    Parameters
    ----------
    sweep
        Takes all configurations of a sweep (``-m``) in this process at once. Jobs that a launcher starts elsewhere
        run the command one by one.
    """
    collected: list[DictConfig] = []
    register()
    log_to_console()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors in the overrides reach our handler instead of Hydra's

    def job(cfg: DictConfig) -> None:
        with errors_on_one_line(cfg):
            _check_choices(name)
            if sweep is not None and _is_swept_here():
                collected.append(cfg)
                return
            with processes(name):
                command(cfg)

    with errors_on_one_line():
        load_plugins()
        check_words(name, sys.argv[1:])
        sys.argv[1:] = without_removed(sys.argv[1:])
        _check_launcher()
        hydra.main(version_base="1.3", config_path="pkg://biosae.cli.config", config_name=name)(job)()
        if collected:
            with errors_on_one_line(collected[0]), processes(name):
                sweep(collected)
    if _under_torchrun():
        from biosae.distributed.processes import hard_exit

        hard_exit()


def _check_choices(command: str) -> None:
    """Hydra merges a list of options of one group, which makes sense for none of ours."""
    for override in HydraConfig.get().overrides.task:
        group, _, several = override.partition("=")
        if several.startswith("[") and resources.files("biosae.cli.config").joinpath(group).is_dir():
            sweep = f"biosae {command} -m {group}={several.strip('[]')}"
            raise SettingError(f"{group} takes one option at a time; for a sweep over them: {sweep}")


def _check_launcher() -> None:
    """Jobs that a launcher starts would each wait for the processes of torchrun."""
    chosen = next((word for word in sys.argv if word.startswith("hydra/launcher=")), None)
    if chosen and _under_torchrun():
        raise SettingError(f"{chosen} starts processes of its own: leave it out, or start the sweep without torchrun")


def _is_swept_here() -> bool:
    """Whether this is one of several jobs that this process runs one after the other."""
    hydra_cfg = HydraConfig.get()
    return hydra_cfg.mode == RunMode.MULTIRUN and hydra_cfg.launcher._target_ == ONE_BY_ONE


@contextmanager
def errors_on_one_line(cfg: DictConfig | None = None) -> Iterator[None]:
    """End the program with one line when biosae or Hydra raised on purpose.

    Parameters
    ----------
    cfg
        The configuration, whose settings stand for the arguments that errors name.
    """
    try:
        yield
    except (BiosaeError, HydraException, OmegaConfBaseException) as error:
        if os.environ.get("BIOSAE_DEBUG"):
            raise
        if _speaks():
            console.quiet = False
            console.print(f"[bold red]error:[/] {escape(message_of(error, cfg))}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt as stop:
        console.print(str(stop) or "stopped", highlight=False)
        sys.exit(130)


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def processes(name: str) -> AbstractContextManager[None]:
    """The processes of torchrun, connected, of which the first speaks; nothing without torchrun.

    Torch is not loaded for commands that do without.
    """
    if not _under_torchrun():
        return nullcontext()
    if name not in SHARED:
        raise SettingError(f"biosae {name} is for one process: start it without torchrun ({', '.join(SHARED)} take it)")
    from biosae.distributed.processes import init_distributed

    console.quiet = os.environ["RANK"] != "0"
    return init_distributed()


def _speaks() -> bool:
    """Whether an error is told here: of several processes the first that fails tells it."""
    if not _under_torchrun():
        return True
    from biosae.distributed.processes import is_first_to_fail

    return is_first_to_fail()


def message_of(error: BaseException, cfg: DictConfig | None = None) -> str:
    """Return one line that says what went wrong, with the nearest key for one that does not exist."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    ours = next((link for link in chain if isinstance(link, BiosaeError)), None)
    if ours is not None:
        return in_settings(" ".join(str(ours).split()), ours.argument, cfg)
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is not set; give it as {error.full_key}="
    if isinstance(error, MissingConfigException) and error.options:
        return f"{error.missing_cfg_file} does not exist; there are {', '.join(error.options)}"
    said = "; ".join(dict.fromkeys(_first_line(link) for link in chain))
    return said + _nearest_key(chain) + _as_list(said)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


def _nearest_key(chain: list[BaseException]) -> str:
    for error in chain:
        found = re.search(r"Key '([^']+)' (?:is not in struct|not in)", str(error))
        if found and isinstance(error, OmegaConfBaseException) and error.parent_node is not None:
            known = [str(key) for key in error.parent_node]
            if not known:
                return "; put a + before it to add it"
            near = difflib.get_close_matches(found[1], known, n=1)
            return f"; did you mean {near[0]}?" if near else f"; it has {', '.join(known)}"
    return ""


def _as_list(said: str) -> str:
    """How one value is written where several may stand."""
    found = re.search(r"override (\S+?)=(.+); Invalid value assigned: \w+ is not a ListConfig", said)
    return f"; write {found[1]}=[{found[2]}]" if found else ""


def log_to_console() -> None:
    handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
    root = logging.getLogger("biosae")
    root.handlers = [handler]
    root.setLevel(logging.INFO)
