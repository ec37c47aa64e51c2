"""Examples of where a feature fires, for those who describe it, without names that give it away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.residues.residue_codes import ResidueTracks
from biosae.errors import DataError
from biosae.features.token_codes import TokenCodes

from .residue_evidence import have_residues

N_GENES = 15  # of a cell
N_READ = 5  # tokens of a cell on which the feature is strongest
WINDOW = 10  # residues either side of the strongest
STEPS = 10  # activations are whole numbers from 0 to this
MIN_SHARE = 0.03  # of the cells express a gene that is shown: rarer ones tell little
LEVEL_PRIOR = 0.5  # added to the deviation of a gene's log expression, so that hardly varying genes do not lead

TASK = (
    "Describe in one sentence what the samples under 'top' share that those under 'random' and 'contrast' lack. "
    "Each sample shows its activation (0 to 10) and what is known of it; 'reads' are the tokens on which the feature "
    "is strongest."
)
QUESTION = "From the description alone, predict the activation (0 to 10) of the feature in each sample."


@dataclass(frozen=True, eq=False)
class Exhibits:
    """Descriptions of samples without their names and labels.

    Attributes
    ----------
    table, expression, codes
        The feature table, the expression of its cells or None, and the token codes or None.
    """

    table: anndata.AnnData
    expression: anndata.AnnData | None
    codes: TokenCodes | None

    def __post_init__(self):
        if self.expression is None and self._tracks is None:
            message = "samples have neither genes nor residues to show, so that there is nothing to describe"
            raise DataError(f"{message}; features of embeddings are explained by their annotations")

    def of(self, sample: int, feature: int | None = None) -> dict[str, Any]:
        """Return the fields that describe a sample, and with a feature the tokens that it reads there."""
        if self.expression is not None:
            shown: dict[str, Any] = {"genes": self._genes(sample)}
            return shown if feature is None else shown | {"reads": self._read(sample, feature)}
        sequence = self._tracks.sequence(sample)
        if feature is None:
            return {"sequence": sequence}
        place = int(self._tracks.codes(feature, sample).argmax())
        around = sequence[max(place - WINDOW, 0) : place + WINDOW + 1]
        return {"strongest_around": around, "position": f"{place + 1} of {len(sequence)}"}

    def _genes(self, sample: int) -> list[str]:
        """Genes that stand out most from the other cells."""
        row = self._values[sample]
        level, gene = row.data[self._is_shown[row.indices]], row.indices[self._is_shown[row.indices]]
        outstanding = (level - self._mean[gene]) / (self._deviation[gene] + LEVEL_PRIOR)
        return self._symbols[gene[np.argsort(-outstanding, kind="stable")[:N_GENES]]].tolist()

    def _read(self, sample: int, feature: int) -> list[str]:
        if self.codes is None:
            return []
        entries = self._entries(feature)
        own = np.flatnonzero(entries.sample == sample)
        first = own[np.argsort(-entries.code[own], kind="stable")[:N_READ]]
        return self._names[entries.token[first]].tolist()

    def _entries(self, feature: int):
        if self._last.get("feature") != feature:
            self._last.update(feature=feature, entries=self.codes.entries(feature))
        return self._last["entries"]

    @cached_property
    def _last(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _values(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.expression.X)

    @cached_property
    def _symbols(self) -> np.ndarray:
        return self.expression.var["symbol"].to_numpy(object)

    @cached_property
    def _is_shown(self) -> np.ndarray:
        return np.bincount(self._values.indices, minlength=self._values.shape[1]) >= MIN_SHARE * self.table.n_obs

    @cached_property
    def _mean(self) -> np.ndarray:
        return self._values.mean(axis=0).A1

    @cached_property
    def _deviation(self) -> np.ndarray:
        squares = self._values.multiply(self._values).mean(axis=0).A1
        return np.sqrt(np.maximum(squares - self._mean**2, 0))

    @cached_property
    def _names(self) -> np.ndarray:
        names = self.codes.vocabulary.set_index("token")["name"]
        return names.reindex(range(int(names.index.max()) + 1)).fillna("").to_numpy(object)

    @cached_property
    def _tracks(self) -> ResidueTracks | None:
        """Sequences of proteins; None where tokens are no residues."""
        if self.codes is None or not have_residues(self.table, self.codes):
            return None
        letters = self.codes.vocabulary["name"].to_numpy(object)
        return ResidueTracks(list(self.codes.shards()), letters, self.table.n_obs, None)


def examples(
    exhibits: Exhibits, features: np.ndarray, n_examples: int, seed: int
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield for every feature its examples, of train and select samples, and its questions, of test samples.

    Top examples are those with the largest pooled code; contrasts are the ones among the lower half whose embeddings
    lie closest to them; the others are random. Half of the questions are of the top tenth of the test samples.

    Parameters
    ----------
    features
        Numbers of the features; one that never fires is left out.
    n_examples
        Examples of each kind, and questions.
    """
    generator = np.random.default_rng(seed)
    obs, codes = exhibits.table.obs, sparse.csc_matrix(exhibits.table.X)
    part, has_tokens = obs["biosae_part"].astype(str), obs["biosae_n_tokens"].to_numpy() > 0
    shown, asked = (np.flatnonzero(part.isin(names) & has_tokens) for names in (["train", "select"], ["test"]))
    embedding = _unit(exhibits.table.obsm.get("X_model"), len(obs))
    for feature in features:
        code = codes[:, [feature]].toarray().ravel()
        largest = code[shown].max(initial=0)
        if largest <= 0:
            continue
        kinds = _kinds(code, shown, embedding, n_examples, generator)
        line = {"feature": int(feature), "task": TASK}
        for kind, rows in kinds.items():
            line[kind] = [_shown(exhibits, row, code[row] / largest, feature) for row in rows]
        questions = [{"sample": int(row), **exhibits.of(row)} for row in _asked(code, asked, n_examples, generator)]
        yield line, {"feature": int(feature), "task": QUESTION, "samples": questions}


def _kinds(
    code: np.ndarray, rows: np.ndarray, embedding: np.ndarray | None, n: int, generator: np.random.Generator
) -> dict[str, np.ndarray]:
    order = rows[np.argsort(-code[rows], kind="stable")]
    top, low = order[:n], order[len(order) // 2 :]
    contrast = generator.permutation(low)[:n]
    if embedding is not None:
        likeness = embedding[low] @ embedding[top].mean(axis=0)
        contrast = low[np.argsort(-likeness, kind="stable")[:n]]
    rest = np.setdiff1d(rows, np.concatenate([top, contrast]))
    return {"top": top, "random": generator.permutation(rest)[:n], "contrast": contrast}


def _asked(code: np.ndarray, rows: np.ndarray, n: int, generator: np.random.Generator) -> np.ndarray:
    """Test samples in random order, half of them of the top tenth."""
    order = rows[np.argsort(-code[rows], kind="stable")]
    n_high = max(len(rows) // 10, 1)
    high = generator.permutation(order[:n_high])[: n // 2]
    return generator.permutation(np.concatenate([high, generator.permutation(order[n_high:])[: n - len(high)]]))


def _shown(exhibits: Exhibits, row: int, share: float, feature: int) -> dict[str, Any]:
    return {"activation": round(STEPS * min(max(float(share), 0), 1)), **exhibits.of(int(row), int(feature))}


def _unit(embedding: Any, n: int) -> np.ndarray | None:
    """Embeddings of length 1, None where there are none."""
    if embedding is None or len(embedding) != n:
        return None
    values = np.nan_to_num(np.asarray(embedding, dtype=np.float32))
    values = values - values.mean(axis=0)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def answer_key(table: anndata.AnnData, answers: pd.DataFrame) -> np.ndarray:
    """``(n,)`` pooled code behind each row of answers, which name a ``feature`` and a ``sample``."""
    codes = sparse.csr_matrix(table.X)
    return np.asarray(codes[answers["sample"].to_numpy(), answers["feature"].to_numpy()]).ravel()
