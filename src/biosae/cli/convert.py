"""`biosae convert MODEL_DIR OUT`: an official checkpoint as safetensors and JSON, without pickles."""

from __future__ import annotations

import argparse
from pathlib import Path

from biosae.models.convert import convert_checkpoint
from biosae.progress import results

from .launch import errors_on_one_line


def main() -> None:
    parser = argparse.ArgumentParser(prog="biosae convert", description=__doc__)
    parser.add_argument("model_dir", help="folder of the checkpoint")
    parser.add_argument("out", type=Path, help="new folder")
    arguments = parser.parse_args()
    with errors_on_one_line():
        for path in convert_checkpoint(arguments.model_dir, arguments.out):
            results.print(path, highlight=False)
