"""The gene dictionaries of a Geneformer: tokens, medians and names, found in the folders of the official repository."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from biosae.artefacts import settings_hash
from biosae.errors import ModelError

from .dictionaries import SUFFIXES, read_dictionary
from .symbols import approved_symbols, is_special

FOLDERS = (
    ".",
    "geneformer",
    "geneformer/gene_dictionaries_30m",
    "../geneformer",
    "../geneformer/gene_dictionaries_30m",
)
CORPORA = ("", "_gc104M", "_gc95M", "_gc30M")  # file names end with the number of training cells
PUBLISHED = "https://huggingface.co/ctheodoris/Geneformer"


@dataclass(frozen=True)
class GeneDictionaries:
    """Gene dictionaries of one version of Geneformer.

    Attributes
    ----------
    token
        Token of each Ensembl id and special token; the tokens are 0 ... n - 1.
    median_of_gene
        Non-zero median expression of each gene, in counts per 10,000.
    gene_of_name
        Ensembl id by retired id and by upper-case symbol; empty for the oldest files.
    gene_of_symbol
        Ensembl id by the symbol people use; may be empty.
    """

    token: dict[str, int]
    median_of_gene: dict[str, float]
    gene_of_name: dict[str, str]
    gene_of_symbol: dict[str, str]

    @cached_property
    def vocabulary(self) -> np.ndarray:
        """``(n_vocabulary,) str`` Ensembl id or special token by token."""
        return np.array(sorted(self.token, key=self.token.__getitem__))

    @cached_property
    def symbols(self) -> np.ndarray:
        """``(n_vocabulary,) str`` name of each token: the approved symbol where there is one."""
        # Former names stand in the first file beside present ones, so that any of them may come out of it.
        names = {gene: name for name, gene in _reversed(self.gene_of_name)} | approved_symbols()
        names |= {gene: symbol for symbol, gene in _reversed(self.gene_of_symbol)}
        return np.array([names.get(gene, gene) for gene in self.vocabulary])

    @cached_property
    def median(self) -> np.ndarray:
        """``(n_vocabulary,) float64``; 1 for special tokens."""
        return np.array([1.0 if is_special(gene) else self.median_of_gene[gene] for gene in self.vocabulary])

    @cached_property
    def token_of_name(self) -> dict[str, int]:
        """Token by Ensembl id and by upper-case symbol; the model's own mapping comes first."""
        names = {gene: gene for gene in self.token if not is_special(gene)}
        names |= {symbol.upper(): gene for symbol, gene in self.gene_of_symbol.items()}
        names |= {name.upper(): gene for name, gene in self.gene_of_name.items()}
        return {name: self.token[gene] for name, gene in names.items() if gene in self.token}

    @cached_property
    def hash(self) -> str:
        return settings_hash({"token": self.token, "median": self.median_of_gene, "names": self.token_of_name})


def read_gene_dictionaries(folder: Path, n_vocabulary: int) -> GeneDictionaries:
    """Read the dictionaries whose tokens are exactly those of a model with ``n_vocabulary`` embeddings.

    Raises
    ------
    ModelError
        If none is found, or only those of another version.
    """
    found = {}
    for path in _token_files(folder):
        token = read_dictionary(path)
        if sorted(token.values(), key=str) == sorted(range(n_vocabulary), key=str):
            return _with_others(path, token)
        found[path] = len(token)
    if not found:
        message = f"{folder} has no token_dictionary (.pkl, .json or .json.gz), and neither has ../geneformer; "
        raise ModelError(message + f"put the gene dictionaries from {PUBLISHED} into one of them")
    sizes = ", ".join(f"{path.name} has {size:,}" for path, size in found.items())
    message = f"the model in {folder} has {n_vocabulary:,} tokens, but {sizes}; V1 models (25,426 tokens) need the "
    raise ModelError(message + f"gc30M dictionaries, V2 models (20,275) the gc104M ones, both from {PUBLISHED}")


def _with_others(path: Path, token: dict[str, int]) -> GeneDictionaries:
    def other(stem: str, required: bool = False) -> dict:
        file = path.with_name(path.name.replace("token_dictionary", stem))
        beside = [file.with_name(file.name.partition(".")[0] + suffix) for suffix in SUFFIXES]
        existing = next((candidate for candidate in beside if candidate.is_file()), None)
        if existing is None and required:
            raise ModelError(f"{path.parent} has {path.name} but no {file.name}; download it from {PUBLISHED}")
        return read_dictionary(existing) if existing else {}

    genes = GeneDictionaries(
        token=token,
        median_of_gene=other("gene_median_dictionary", required=True),
        gene_of_name=other("ensembl_mapping_dict"),
        gene_of_symbol=other("gene_name_id_dict"),
    )
    without = [gene for gene in token if not is_special(gene) and not genes.median_of_gene.get(gene, 0) > 0]
    if without:
        message = f"{len(without)} genes of {path} have no positive median (for example {without[0]}); "
        raise ModelError(message + "token and median dictionaries must be of one version")
    return genes


def _token_files(folder: Path) -> Iterator[Path]:
    for place in FOLDERS:
        for corpus in CORPORA:
            for suffix in SUFFIXES:
                path = (folder / place / f"token_dictionary{corpus}{suffix}").resolve()
                if path.is_file():
                    yield path


def _reversed(pairs: dict[str, str]) -> list[tuple[str, str]]:
    """Symbols with their genes, last first, so that the first symbol of a gene wins when they fill a dictionary."""
    return [(name, gene) for name, gene in reversed(pairs.items()) if not name.startswith("ENS")]
