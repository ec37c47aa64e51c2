"""Locations of checkpoints: a folder, a Hugging Face repository, or a model inside this package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from biosae.errors import ModelError

BUILTIN, HUB = "builtin:", "hf://"


def resolve_folder(model_dir: str | Path, published: str, patterns: tuple[str, ...] = ()) -> Path:
    """Return the local folder of ``model_dir``.

    Parameters
    ----------
    model_dir
        A folder; ``builtin:<name>`` for a model inside the package; or
        ``hf://<owner>/<repository>[/<folder>]``, downloaded once and then read from the cache of
        huggingface_hub.
    published
        Page that publishes the model, for errors.
    patterns
        Files to download besides the named folder of the repository (glob patterns).

    Raises
    ------
    ModelError
        If there is no such folder or the download fails.
    """
    name = str(model_dir)
    if name.startswith(BUILTIN):
        folder = Path(str(resources.files("biosae.models"))) / name.removeprefix(BUILTIN).replace("-", "_")
    elif name.startswith(HUB):
        folder = _download(name.removeprefix(HUB), patterns)
    else:
        folder = Path(name).expanduser()
    if folder.is_file():
        message = f"model_dir={name} is a file; give the folder that it lies in, {folder.absolute().parent}"
        raise ModelError(message, argument="model_dir")
    if not folder.is_dir():
        message = f"model_dir={name} is not a folder ({folder.absolute()}); "
        message += f"give the folder of the checkpoint, published at {published}"
        raise ModelError(message, argument="model_dir")
    return folder.resolve()


def model_files(
    model_dir: str | Path, published: str, *files: tuple[str, ...], patterns: tuple[str, ...] = ()
) -> tuple[str, list[Path]]:
    """Return the name of a model and the path of each file, the first of its names that exists.

    Parameters
    ----------
    model_dir, published, patterns
        As in `resolve_folder`.
    files
        For each file the names that it may have.

    Raises
    ------
    ModelError
        If the folder or a file is missing; the message lists what is missing.
    """
    folder = resolve_folder(model_dir, published, patterns)
    return model_name(model_dir, folder), require_files(folder, published, *files)


def model_name(model_dir: str | Path, folder: Path) -> str:
    """Return the name of the model in reports: that inside the package, or the name of its folder."""
    name = str(model_dir)
    return name.removeprefix(BUILTIN) if name.startswith(BUILTIN) else folder.name


def require_files(folder: Path, published: str, *files: tuple[str, ...]) -> list[Path]:
    """Return a path for each file, the first of its names that exists, or raise an error that lists missing files.

    If a folder inside has all files, the error proposes it.
    """
    found = _found(folder, files)
    missing = [" or ".join(names) for names, path in zip(files, found, strict=True) if path is None]
    if not missing:
        return found
    inside = next((child for child in sorted(folder.iterdir()) if child.is_dir() and all(_found(child, files))), None)
    advice = f"download what is missing from {published}, or set model_dir"
    message = f"{folder} has no {', no '.join(missing)}; "
    raise ModelError(message + (f"did you mean model_dir={inside}?" if inside else advice), argument="model_dir")


def _found(folder: Path, files: tuple[tuple[str, ...], ...]) -> list[Path | None]:
    paths = [[folder / name for name in names] for names in files]
    return [next((path for path in named if path.is_file()), None) for named in paths]


def _download(address: str, patterns: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    owner, _, rest = address.partition("/")
    repository, _, subfolder = rest.partition("/")
    if not (owner and repository):
        raise ModelError(f"hf:// needs <owner>/<repository>[/<folder>], got hf://{address}")
    wanted = [f"{subfolder}/*" if subfolder else "*", *patterns]
    try:
        root = snapshot_download(f"{owner}/{repository}", allow_patterns=wanted, ignore_patterns=["*training_args.bin"])
    except Exception as error:  # every failure of the network ends here, and all mean the same to a user
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"hf://{address} cannot be downloaded ({reason}); "
        message += "fetch the folder where there is a network and set model_dir to it"
        raise ModelError(message, argument="model_dir") from error
    return Path(root) / subfolder
