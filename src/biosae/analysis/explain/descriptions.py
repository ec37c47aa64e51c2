"""Descriptions of features by people or language models, scored as the explanations of biosae are."""

from __future__ import annotations

import re
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from biosae.analysis.stats.correlation import standardised
from biosae.errors import DataError

from .evidence import Evidence
from .examples import answer_key
from .explain import firing_auroc, judge

NEGATIONS = frozenset("no not non without except excluding lacking low little absent negative".split())
REACH = 3  # words after a negation that it covers
ANYWHERE = frozenset("cell cells and or of the in type types".split())  # words that tell no class from another


def read_descriptions(path: Path, d_sae: int) -> pd.DataFrame:
    """Return the columns ``feature`` and ``description`` of a CSV.

    Raises
    ------
    DataError
        If the file or a column is missing, or a feature does not exist or stands there twice.
    """
    table = _read_csv(path, ("feature", "description"))
    table["feature"] = _whole_numbers(path, table["feature"], "feature", d_sae)
    if table["feature"].duplicated().any():
        again = table["feature"][table["feature"].duplicated()].iloc[0]
        raise DataError(f"{path} describes feature {again} more than once; keep one description per feature")
    return table[["feature", "description"]]


def read_answers(path: Path, table: anndata.AnnData) -> pd.DataFrame:
    """Return the columns ``feature``, ``sample`` (row of features.h5ad, of the part test) and ``prediction`` of a CSV.

    Raises
    ------
    DataError
        If the file or a column is missing, a number is none, or a sample is not of the part test.
    """
    answers = _read_csv(path, ("feature", "sample", "prediction"))
    answers["feature"] = _whole_numbers(path, answers["feature"], "feature", table.n_vars)
    answers["sample"] = _whole_numbers(path, answers["sample"], "sample", table.n_obs)
    answers["prediction"] = pd.to_numeric(answers["prediction"], errors="coerce")
    if answers["prediction"].isna().any():
        raise DataError(f"{path}: every prediction must be a number, such as one from 0 to 10")
    part = table.obs["biosae_part"].astype(str).to_numpy()[answers["sample"]]
    if (part != "test").any():
        other = int(answers["sample"][part != "test"].iloc[0])
        raise DataError(f"{path}: sample {other} is not a test sample; answer the questions of the export")
    return answers


def score_descriptions(evidence: Evidence, described: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Score descriptions by what they name: classes, genes, gene families and sets, depth, donors.

    What a text names becomes one number per sample (`statement`), which is fitted on select and judged on test
    samples like the explanations of `explain`. The text never sees a code, and the fit is one rising line, so that a
    description of the opposite gains nothing.

    Parameters
    ----------
    described
        From `read_descriptions`.

    Returns
    -------
    ``feature``, ``description``, ``understood`` (what was found in the text, separated by ``;``), ``fidelity``,
    ``firing_auroc``, and ``null_fidelity``: that of the descriptions of other features.
    """
    found = [statement(text, evidence) for text in described["description"]]
    values = np.column_stack([value for _, value in found]) if found else np.empty((len(evidence.rows), 0))
    features = described["feature"].to_numpy()
    scores = judge(evidence, values.astype(np.float32), features, rising=True)
    dealt = np.roll(np.arange(len(features)), 1 + seed % max(len(features) - 1, 1))
    null = judge(evidence, values[:, dealt].astype(np.float32), features, rising=True)["fidelity"]
    understood = [";".join(names) for names, _ in found]
    return described.reset_index(drop=True).assign(understood=understood, **scores, null_fidelity=null)


def score_answers(table: anndata.AnnData, answers: pd.DataFrame) -> pd.DataFrame:
    """Score predictions of single test samples by correlation, and by AUROC for the samples that fire strongly.

    Returns
    -------
    ``feature``, ``n_answers``, ``correlation`` (Bills et al. 2023) and ``answer_auroc`` (detection, Paulo et al. 2024).
    """
    code, rows = answer_key(table, answers), []
    for feature, index in answers.groupby("feature").indices.items():
        own, said = code[index].astype(float), answers["prediction"].to_numpy(float)[index]
        fires = own > np.median(own)
        varies = own.std() > 0 and said.std() > 0
        rows.append(
            {
                "feature": int(feature),
                "n_answers": len(index),
                "correlation": float(np.corrcoef(own, said)[0, 1]) if varies else np.nan,
                "answer_auroc": float(firing_auroc(said[:, None], fires[:, None])[0]),
            }
        )
    return pd.DataFrame(rows, columns=["feature", "n_answers", "correlation", "answer_auroc"])


def statement(text: str, evidence: Evidence) -> tuple[list[str], np.ndarray]:
    """Return what a text names, and ``(n,)`` what it says of every sample.

    The classes of each label that it names count together, as in "B or DC"; genes and sets are averaged. Both are
    brought to one scale and added. Words after "not", "without", "low" and the like are left out.
    """
    words = _words(text)
    names, parts = [], []
    for label in [*evidence.labels, *([evidence.batch] if evidence.batch else [])]:
        named = [c for c, name in enumerate(label.names) if _names_class(words, name)]
        if named:
            names += [label.names[c] for c in named]
            parts.append(label.member[:, named].any(axis=1).astype(np.float32))
    genes = _named_genes(words, evidence)
    columns = [v for v, name in enumerate(evidence.variables.names) if _names_variable(words, name)]
    levels = [evidence.variables.values[:, columns]]
    if len(genes):
        levels.append(evidence.genes[:, genes].toarray())
        names += evidence.gene_names[genes].tolist()
    names += [evidence.variables.names[v] for v in columns]
    together = np.concatenate(levels, axis=1)
    if together.shape[1]:
        parts.append(standardised(together).mean(axis=1))
    if not parts:
        return [], np.zeros(len(evidence.rows), np.float32)
    return names, standardised(np.column_stack(parts)).sum(axis=1)


def _words(text: str) -> list[str]:
    """Words of a text, without those that a negation covers."""
    words, kept, covered = re.findall(r"[\w+-]*\w\+?", str(text).replace("_", " ")), [], 0
    for word in words:
        if word.lower() in NEGATIONS:
            covered = REACH
        elif covered:
            covered -= 1
        else:
            kept.append(word)
    return kept


def _names_class(words: list[str], name: str) -> bool:
    """True when every telling word of a class name stands in the text, long ones also as the start of a word."""
    telling = [word for word in re.findall(r"\w+\+?", name) if word.lower() not in ANYWHERE]
    return bool(telling) and all(any(_is_word(word, wanted) for word in words) for wanted in telling)


def _is_word(word: str, wanted: str) -> bool:
    if len(wanted) <= 2:
        return word == wanted or word == f"{wanted}s"
    return word.lower().startswith(wanted.lower()) or wanted.lower() == f"{word.lower()}s"


def _named_genes(words: list[str], evidence: Evidence) -> np.ndarray:
    """Genes written as their symbols."""
    if evidence.genes is None:
        return np.empty(0, dtype=int)
    symbols = {word for word in words if len(word) > 1 and word == word.upper()}
    return np.flatnonzero(np.isin(evidence.gene_names.astype(str), list(symbols)))


def _names_variable(words: list[str], name: str) -> bool:
    """True when every word of a family, a set or another variable stands in the text."""
    wanted = [word for word in re.split(r"[\W_]+", name.removeprefix("HALLMARK_")) if word]
    return bool(wanted) and all(any(_is_word(word, each) for word in words) for each in wanted)


def _read_csv(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as CSV: {str(error).splitlines()[0]}") from error
    if lacking := [name for name in columns if name not in table]:
        raise DataError(f"{path} lacks the column {lacking[0]}; it needs {', '.join(columns)}")
    return table


def _whole_numbers(path: Path, values: pd.Series, name: str, n: int) -> pd.Series:
    numbers = pd.to_numeric(values.str.removeprefix("f"), errors="coerce")
    is_wrong = numbers.isna() | (numbers % 1 != 0) | (numbers < 0) | (numbers >= n)
    if is_wrong.any():
        raise DataError(f"{path}: {name} must be between 0 and {n - 1}, got {values[is_wrong].iloc[0]!r}")
    return numbers.astype(int)
