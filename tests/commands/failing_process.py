"""A command that fails in the second process, while the first waits for it, or in `all`."""

import sys

from biosae.commands.launch import launch
from biosae.errors import DataError
from biosae.ranks import present


def command(cfg):
    if not present().is_first or who == "all":
        raise DataError("a file is not here")
    present().wait()


who, sys.argv = sys.argv[1], ["biosae train"]
launch("train", command)
