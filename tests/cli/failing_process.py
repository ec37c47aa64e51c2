"""A command that fails in the second process, while the first waits for it, or in `all`."""

import sys

from biosae.cli.launch import launch
from biosae.distributed.processes import current_group
from biosae.errors import DataError


def command(cfg):
    if not current_group().is_first or who == "all":
        raise DataError("a file is not here")
    current_group().barrier()


who, sys.argv = sys.argv[1], ["biosae train"]
launch("train", command)
