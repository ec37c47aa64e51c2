"""The analyze stage: scores of every feature, on samples that nothing was chosen on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from biosae.analysis.score_features import score_features
from biosae.errors import arguments_of
from biosae.run_record import read_run
from biosae.runs.settings import AnalysisSettings

from .controls import write_controls
from .transfer import write_transfer


def score(folder: Path, settings: AnalysisSettings | None = None, seed: int = 0) -> Path:
    """Write scores.csv, tables/ and analysis.json of a run, and controls.csv when the settings ask for it.

    Returns
    -------
    Path
        The table of scores.
    """
    settings = settings or AnalysisSettings()
    data, options = read_run(folder)["data"], asdict(settings)
    wants_controls, label_keys = options.pop("controls"), options.pop("label_keys")
    labels = {"label_keys": label_keys or data["label_keys"], "group_key": data["batch_key"]}
    with arguments_of("analysis"):
        score_features(folder / "features.h5ad", folder / "token_codes", folder, **labels, seed=seed, **options)
        write_transfer(folder, seed)
        if wants_controls:
            write_controls(folder, labels, settings.n_permutations, seed)
    return folder / "scores.csv"
