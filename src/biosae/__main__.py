"""`biosae COMMAND key=value ...`: hands the rest of the command line to the command."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys

COMMANDS = {
    "run": "train, features, analyze and report in order",
    "train": "train a sparse autoencoder on one layer of a foundation model",
    "features": "encode every token; sparse codes and features.h5ad",
    "encode": "features of new protein sequences, residue by residue, in seconds",
    "analyze": "score every feature against labels, genes, expression and density",
    "explain": "examples of features for language models, and scores of their descriptions",
    "steer": "edit features inside the model, beside baselines",
    "benchmark": "batch integration of original and steered embeddings",
    "report": "write the static page of a run",
    "compare": "train several variants on the same activations and compare them",
    "stability": "which features other runs find again",
    "sweep": "table and figure of the runs of one experiment, by the settings that differ",
    "convert": "rewrite an official checkpoint as safetensors and JSON",
    "doctor": "what is installed, and what biosae would do with a file",
}


def main() -> None:
    """Runs the command that ``sys.argv`` names."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("--version", "-V"):
        sys.stdout.write(f"biosae {importlib.metadata.version('biosae')}\n")
    elif name in COMMANDS:
        sys.argv = [f"biosae {name}", *sys.argv[2:]]
        try:
            importlib.import_module(f"biosae.cli.{name}").main()
        except KeyboardInterrupt:  # while the libraries are loaded; later ones end in `launch`
            sys.exit(130)
        except BrokenPipeError:  # of `biosae train --help | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the last flush says nothing
            sys.exit(141)
    else:
        known = name in ("--help", "-h", "help")
        (sys.stdout if known else sys.stderr).write(_usage() if known else f"error: no command {name}\n\n{_usage()}")
        sys.exit(0 if known else 2)


def _usage() -> str:
    lines = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    return f"biosae COMMAND key=value ...\n\n{lines}\n\nbiosae COMMAND --help lists the settings of a command.\n"


if __name__ == "__main__":
    main()
