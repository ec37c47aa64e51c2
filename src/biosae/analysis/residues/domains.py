"""Annotated sites and domains of proteins, and how far features agree with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from biosae.errors import ArtefactError

RESIDUE_ANNOTATIONS = "residues.csv"
"""File of the annotations, which the features stage writes beside the features."""


def read_residue_annotations(path: Path, names: pd.Index) -> pd.DataFrame:
    """Return residues.csv with the rows of the samples that it names; each stretch of an earlier file is one object."""
    try:
        table = pd.read_csv(path, dtype={"sample": str, "concept": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}); make it again with the features stage") from error
    number = pd.Series(np.arange(len(names)), index=names)
    if not table["sample"].isin(names).all():
        raise ArtefactError(f"{path} names other proteins than the features; make both again with the features stage")
    return with_objects(table.assign(sample=number[table["sample"]].to_numpy()))


def with_objects(annotations: pd.DataFrame) -> pd.DataFrame:
    """The annotations with a column ``object``; where it is missing, every stretch is one."""
    return annotations if "object" in annotations else annotations.assign(object=range(len(annotations)))


def within(annotations: pd.DataFrame, n_read: np.ndarray) -> pd.DataFrame:
    """The annotations that begin on a residue which the model read.

    Parameters
    ----------
    n_read
        ``(n_samples,)`` residues of each protein that the model read.
    """
    return annotations[annotations["start"].to_numpy() <= n_read[annotations["sample"].to_numpy()]]


@dataclass(frozen=True, eq=False)
class Domains:
    """Annotations on residues; the two ends of a bond are one domain.

    Attributes
    ----------
    concept
        ``(n_domains,)`` number of the concept of each.
    residues
        ``(n_residues, n_domains)`` CSC of ones.
    members
        ``(n_residues, n_concepts)`` CSC of ones: residues of any domain of a concept.
    """

    concept: np.ndarray
    residues: sparse.csc_matrix
    members: sparse.csc_matrix

    def shifted(self, row: np.ndarray) -> Domains:
        """The domains after the residues are moved to other rows of their protein."""
        return Domains(self.concept, self.residues.tocsr()[row].tocsc(), self.members.tocsr()[row].tocsc())


@dataclass(frozen=True, eq=False)
class Agreement:
    """Precision by residue, recall, and their harmonic mean, ``(n_features, n_concepts)``.

    ``recall`` and ``f1`` are those of the protocol, ``recall_by_residue`` and ``f1_by_residue`` stand beside them.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    recall_by_residue: np.ndarray
    f1_by_residue: np.ndarray


def agreement(is_on: sparse.csr_matrix, domains: Domains, by_residue: np.ndarray | None = None) -> Agreement:
    """Agreement of features with concepts.

    Parameters
    ----------
    is_on
        ``(n_residues, n_features)`` ones.
    by_residue
        ``(n_concepts,) bool``, the concepts whose recall is the share of their residues; of the others it is the share
        of their domains that are touched. None: all by domain.
    """
    hits = (is_on.T @ domains.members).toarray()
    n_on = np.asarray(is_on.sum(axis=0)).ravel()[:, None]
    touched = (is_on.T @ domains.residues).tocsr()
    touched.data[:] = 1
    n_concepts = domains.members.shape[1]
    of_concept = sparse.csr_matrix(
        (np.ones(len(domains.concept)), (np.arange(len(domains.concept)), domains.concept)),
        shape=(len(domains.concept), n_concepts),
    )
    n_domains = np.bincount(domains.concept, minlength=n_concepts)
    n_residues = np.asarray(domains.members.sum(axis=0)).ravel()
    precision = hits / np.maximum(n_on, 1)
    of_residues = hits / np.maximum(n_residues, 1)
    recall = (touched @ of_concept).toarray() / np.maximum(n_domains, 1)
    if by_residue is not None:
        recall = np.where(by_residue, of_residues, recall)
    return Agreement(
        precision, recall, _harmonic_mean(precision, recall), of_residues, _harmonic_mean(precision, of_residues)
    )


def _harmonic_mean(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def switched_on(relative: sparse.csr_matrix, share: float) -> sparse.csr_matrix:
    """Ones where a code exceeds a share of its feature's largest."""
    kept = relative.copy()
    kept.data = (kept.data > share).astype(np.float64)
    kept.eliminate_zeros()
    return kept


def turned(sample: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rows of the residues after each protein is turned by a random number of them."""
    starts = np.flatnonzero(np.diff(sample, prepend=-1))
    lengths = np.diff(np.append(starts, len(sample)))
    by = np.repeat(generator.integers(0, lengths), lengths)
    first, length = np.repeat(starts, lengths), np.repeat(lengths, lengths)
    return first + (np.arange(len(sample)) - first + by) % length


def domains_of(annotations: pd.DataFrame, sample: np.ndarray, names: list[str]) -> Domains:
    """The domains on some residues; what lies beyond the residues that the model read is left out."""
    owners, first, n_residues = np.unique(sample, return_index=True, return_counts=True)
    place = pd.Series(range(len(owners)), index=owners)
    own = annotations[annotations["sample"].isin(owners) & annotations["concept"].isin(names)]
    own = own.assign(place=place[own["sample"]].to_numpy())
    own = own[own["start"] <= n_residues[own["place"]]]
    start = first[own["place"]] + own["start"].to_numpy() - 1
    end = first[own["place"]] + np.minimum(own["end"].to_numpy(), n_residues[own["place"]])
    rows = np.concatenate([np.arange(*bounds) for bounds in zip(start, end, strict=True)] or [np.zeros(0, dtype=int)])
    number, objects = pd.MultiIndex.from_frame(with_objects(own)[["concept", "object"]]).factorize()
    domain = np.repeat(number, end - start)
    concept = pd.Index(names).get_indexer(objects.get_level_values(0))
    residues = sparse.csc_matrix((np.ones(len(rows)), (rows, domain)), shape=(len(sample), len(objects)))
    members = sparse.csc_matrix((np.ones(len(rows)), (rows, concept[domain])), shape=(len(sample), len(names)))
    members.data[:] = 1
    return Domains(concept, residues, members)
