"""The explain stage: examples for those who describe features, and scores of their descriptions."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.explain.descriptions import read_answers, read_descriptions, score_answers, score_descriptions
from biosae.analysis.explain.evidence import gather_evidence
from biosae.analysis.explain.examples import Exhibits, examples
from biosae.analysis.genes.gene_sets import hallmark_sets
from biosae.artefacts import atomic_write
from biosae.errors import SettingError, arguments_of
from biosae.features.expression import EXPRESSION, read_expression
from biosae.features.feature_table import read_feature_table
from biosae.features.origin import TOKEN_CODES
from biosae.features.token_codes import TokenCodes
from biosae.run_record import read_run
from biosae.runs.settings import ExplainSettings

logger = logging.getLogger(__name__)

DESCRIPTIONS = "descriptions.csv"


def explain(folder: Path, settings: ExplainSettings, seed: int = 0) -> list[Path]:
    """Write examples of features, or score descriptions of them, and return the files written.

    Parameters
    ----------
    folder
        Run folder with features, and for the comparison with scores.
    settings
        ``export`` writes examples and questions; ``descriptions`` and ``answers`` are read back and scored.

    Raises
    ------
    SettingError
        If nothing is asked for.
    DataError
        If samples have nothing to show, or a file of descriptions cannot be used.
    """
    if not (settings.export or settings.descriptions or settings.answers):
        message = "nothing to do: give export, a file to write examples to, or descriptions, a CSV to score"
        raise SettingError(message, argument="export")
    table = read_feature_table(folder / "features.h5ad", ("X", "obsm"))
    written = []
    with arguments_of("explain"):
        if settings.export:
            written += export_examples(folder, table, settings, seed)
        if settings.descriptions or settings.answers:
            written.append(score(folder, table, settings, seed))
    return written


def export_examples(folder: Path, table: anndata.AnnData, settings: ExplainSettings, seed: int) -> list[Path]:
    """Write one JSON line per feature with its examples, and beside it one with its questions."""
    chosen = np.arange(table.n_vars) if settings.features is None else np.array(settings.features)
    if chosen.size == 0 or chosen.min() < 0 or chosen.max() >= table.n_vars:
        message = f"features must be between 0 and {table.n_vars - 1}, got {settings.features}"
        raise SettingError(message, argument="features")
    codes = TokenCodes(folder / TOKEN_CODES) if (folder / TOKEN_CODES).exists() else None
    exhibits = Exhibits(table, _expression(folder, table), codes)
    path = Path(settings.export).expanduser()
    questions = path.with_name(f"{path.stem}.questions{path.suffix}")
    with atomic_write(path) as first, atomic_write(questions) as second:
        with first.open("w", encoding="utf-8") as told, second.open("w", encoding="utf-8") as asked:
            for line, question in examples(exhibits, chosen, settings.n_examples, seed):
                told.write(json.dumps(line, ensure_ascii=False) + "\n")
                asked.write(json.dumps(question, ensure_ascii=False) + "\n")
    logger.info("examples in %s, questions in %s", path, questions)
    return [path, questions]


def score(folder: Path, table: anndata.AnnData, settings: ExplainSettings, seed: int) -> Path:
    """Write descriptions.csv: descriptions with their held-out scores, beside the explanations of the run."""
    parts = []
    if settings.descriptions:
        described = read_descriptions(Path(settings.descriptions).expanduser(), table.n_vars)
        data = read_run(folder)["data"]
        evidence = gather_evidence(
            table, _expression(folder, table), data["label_keys"], data["batch_key"], hallmark_sets(), {}, seed
        )
        parts.append(score_descriptions(evidence, described, seed).set_index("feature"))
    if settings.answers:
        answers = read_answers(Path(settings.answers).expanduser(), table)
        parts.append(score_answers(table, answers).set_index("feature"))
    scored = pd.concat([*parts, *_own(folder)], axis=1)
    scored = scored.loc[sorted(set().union(*(part.index for part in parts)))].rename_axis("feature")
    path = folder / DESCRIPTIONS
    with atomic_write(path) as temporary:
        scored.to_csv(temporary, float_format="%.6g")
    logger.info("%d descriptions scored in %s", len(scored), path)
    return path


def _own(folder: Path) -> list[pd.DataFrame]:
    """The explanations of the run, to stand beside."""
    path = folder / "tables" / "explanations.csv"
    if not path.exists():
        return []
    own = pd.read_csv(path, keep_default_na=False, na_values={"fidelity": [""]}).set_index("feature")
    return [own[["name", "fidelity"]].set_axis(["name_of_biosae", "fidelity_of_biosae"], axis=1)]


def _expression(folder: Path, table: anndata.AnnData) -> anndata.AnnData | None:
    path = folder / EXPRESSION
    return read_expression(path, table) if path.exists() else None
