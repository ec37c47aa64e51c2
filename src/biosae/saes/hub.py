"""SAEs on the Hugging Face Hub: loaded by name, shared with a card that is written from their run."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi, snapshot_download

from biosae.artefacts import atomic_folder
from biosae.errors import ArtefactError, SettingError, reason_of
from biosae.run_record import EVALUATION, RUN, read_evaluation, read_run
from biosae.saes.parts.threshold import RunningThreshold

from . import files
from .base import SAE

KEPT = (files.WEIGHTS, files.SETTINGS, EVALUATION)  # not run.json, which names folders and the command line
MEASURES = {
    "fvu": "variance of held-out activations left unexplained (FVU)",
    "cosine": "cosine of activation and reconstruction",
    "l0": "features active a token (L0)",
    "dead_fraction": "share of features that never fire",
    "recovery_vs_zero": "embedding recovery, against zero ablation",
    "recovery_vs_mean": "embedding recovery, against mean ablation",
}


def from_pretrained(name: str | Path, revision: str | None = None, device: str = "cpu") -> SAE:
    """The SAE of a local folder, or of a repository such as ``me/geneformer-layer-2``.

    Only ``sae.safetensors`` and ``sae.yaml`` are fetched, and kept in the Hub's cache.

    Parameters
    ----------
    revision
        Branch, tag or commit of the repository.

    Raises
    ------
    ArtefactError
        If there is no such folder or repository, it holds no SAE of ours, or weights that its ``sae.yaml`` does not
        name.
    """
    if Path(name).is_dir():
        if (Path(name) / RUN).exists():
            read_run(Path(name))  # compares the weights
        return files.load(Path(name), device)
    try:
        folder = snapshot_download(str(name), revision=revision, allow_patterns=[files.WEIGHTS, files.SETTINGS])
    except Exception as error:  # every failure of the network ends here, and all mean the same to a user
        message = f"{name} is neither a folder nor a repository that can be fetched: {reason_of(error)}"
        raise ArtefactError(message) from error
    return files.load(Path(folder), device)


def save_pretrained(run: Path | str, out: Path | str, licence: str) -> Path:
    """What `push_to_hub` uploads: weights, settings, the run's numbers and README.md, the model card.

    Parameters
    ----------
    run
        A finished run folder.
    out
        A new folder, or one that is replaced.
    licence
        Of the SAE, as the Hub spells it, for example ``cc-by-4.0``; data and host model have licences of their own.

    Raises
    ------
    ArtefactError
        If the run is not finished, its SAE is damaged, or its inference threshold was never estimated.
    """
    run = Path(run)
    if not licence:
        raise SettingError("a licence is needed, as the Hub spells it, for example cc-by-4.0")
    _check_thresholds(files.load(run), run)
    card = model_card(run, licence)
    with atomic_folder(Path(out)) as folder:
        for name in KEPT:
            shutil.copyfile(run / name, folder / name)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return Path(out)


def push_to_hub(
    run: Path | str,
    repo_id: str,
    licence: str,
    private: bool = True,
    token: str | None = None,
    api: HfApi | None = None,
) -> str:
    """Uploads the SAE of a run with its card, and gives the address of the commit.

    Parameters
    ----------
    licence
        See `save_pretrained`.
    token
        By default that of ``huggingface-cli login``.

    Raises
    ------
    ArtefactError
        If the run is not finished, or the Hub refuses.
    """
    api = HfApi(token=token) if api is None else api
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_pretrained(run, Path(scratch) / "sae", licence)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True)
            commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="SAE trained with biosae")
        except Exception as error:  # as above: refused, no network, a name that the Hub does not take
            raise ArtefactError(f"{repo_id} could not be written: {reason_of(error)}") from error
    return str(commit.commit_url)


def _check_thresholds(sae: SAE, run: Path) -> None:
    """Without its threshold an SAE fires like a ReLU, which whoever loads it could not see."""
    if any(isinstance(part, RunningThreshold) and not part.is_estimated for part in sae.modules()):
        untrained = f"the {type(sae).__name__} in {run} has no inference threshold yet"
        raise ArtefactError(f"{untrained} and would fire like a ReLU; train it for at least a step before sharing it")


def model_card(run: Path | str, licence: str) -> str:
    """README.md of a run's SAE: what it reads, what it reaches on held-out samples, data, split, how to load it."""
    described, evaluation = read_run(Path(run)), read_evaluation(Path(run), "n_tokens")
    model, sae, data, split = (described[part] for part in ("model", "sae", "data", "split"))
    header = {"license": licence, "library_name": "biosae", "tags": ["sparse-autoencoder", "biology", "biosae"]}
    numbers = {words: evaluation.get(name) for name, words in MEASURES.items()}
    settings = ", ".join(f"{name} {value}" for name, value in _settings_of(Path(run)).items())
    measured = [f"| {words} | {number:.4g} |" for words, number in numbers.items() if number is not None]
    parts = ", ".join(f"{n:,} {part}" for part, n in split["n"].items())
    held = f"whole groups of `{split['group_key']}`" if split.get("group_key") else "drawn one by one"
    lines = [
        "---", yaml.safe_dump(header, sort_keys=False).strip(), "---", "",
        f"# {sae['variant']} SAE of {model['name']}, layer {model['layer']}", "",
        f"{sae['d_sae']:,} features of the residual stream ({sae['d_in']} wide) after layer {model['layer']} of "
        f"{model['n_layers']}, counted from 0; model fingerprint `{model['fingerprint']}`.", "",
        "## Held-out numbers", "", f"On {evaluation['n_tokens']:,} tokens of the part validate.", "",
        "| measure | value |", "|---|---|", *measured, "",
        "## Data and split", "",
        f"- {data['description']}: {data['n_samples']:,} {data['kind']}, content hash `{data['hash']}`",
        f"- split (seed {split['seed']}, {held}): {parts}; the SAE learned from train alone",
        f"- {described['activations']['n_train_tokens']:,} activations to learn from",
        f"- made {described['created'][:10]} with biosae {described['biosae']}", "",
        "## Use", "", "Install biosae from its repository (`pip install .` in a clone). Then:", "",
        "```python", "import biosae as bs", "",
        'sae = bs.load("<this repository>")', *_lines_of_use(described),
        "```", "",
        f"Settings of the SAE: {settings}.", "",
        "## Licences", "",
        f"The SAE: {licence}. The data and the host model have licences of their own.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _settings_of(run: Path) -> dict[str, Any]:
    """Return the settings of the variant, such as k."""
    return asdict(files.load(run).settings)


def _lines_of_use(described: dict[str, Any]) -> list[str]:
    """Return lines of Python that go from samples to codes, or from numbers where the host is not a model."""
    model, width = described["model"], described["sae"]["d_in"]
    from_numbers = f"codes = sae.encode(x)  # x: (n_tokens, {width}) activations of {model['name']}"
    if described["data"]["kind"] != "cells" or model["n_layers"] == 1:
        return [from_numbers]
    host = model["name"]
    weights = "" if host == "geneformer-mini" else ', model_dir="<folder of its weights>"'
    return [
        f'model = bs.load_model("{host}"{weights})',
        f"features = bs.tl.encode(adata, model, sae, layer={model['layer']})  # adata has raw counts; cells x features",
        from_numbers,
    ]
