"""Protocols of comparing features with annotated residues: what recall counts, and which concepts are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from biosae.errors import SettingError

RESIDUE_LEVEL = ("Active site", "Cofactor", "Glycosylation", "Modified residue", "Disulfide bond")
"""Types that InterPLM counts residue by residue."""

NOT_EVALUATED = ("Region", "Modified residue", "Domain", "Compositional bias", "Motif")
"""Types that InterPLM scores by their notes only."""


@dataclass(frozen=True)
class Protocol:
    """Requirements for scoring a concept on select and test proteins, and the unit of its recall.

    Attributes
    ----------
    min_domains
        Domains that a concept needs on each part.
    min_residues
        Residues that do instead.
    residue_level
        Types whose recall is the share of their residues; of the others it is the share of their domains that are
        touched. None: all types.
    not_scored
        Concepts that are left out.
    """

    min_domains: int = 3
    min_residues: float = np.inf
    residue_level: tuple[str, ...] | None = ()
    not_scored: tuple[str, ...] = ()

    def by_residue(self, concepts: list[str]) -> np.ndarray:
        """``(n_concepts,) bool``, those whose recall is by residue."""
        types = [name.partition(":")[0] for name in concepts]
        return np.array([self.residue_level is None or kind in self.residue_level for kind in types], dtype=bool)

    def scorable(self, annotations: pd.DataFrame, part: np.ndarray) -> tuple[list[str], dict[str, str]]:
        """Return the concepts with enough domains on both parts, and the reason for each other one.

        Parameters
        ----------
        annotations
            ``sample``, ``start``, ``end``, ``concept`` and ``object``.
        part
            ``(n_samples,)`` part of each protein.
        """
        annotations = annotations[~annotations["concept"].isin(self.not_scored)]
        n_residues = annotations["end"] - annotations["start"] + 1
        of = annotations.assign(part=part[annotations["sample"]], n_residues=n_residues)
        parts = ["select", "test"]
        domains = of.drop_duplicates(["concept", "object"]).pivot_table(
            index="concept", columns="part", values="object", aggfunc="size", fill_value=0
        )
        residues = of.pivot_table(index="concept", columns="part", values="n_residues", aggfunc="sum", fill_value=0)
        domains, residues = (table.reindex(columns=parts, fill_value=0) for table in (domains, residues))
        enough = ((domains >= self.min_domains) | (residues >= self.min_residues)).all(axis=1)
        left_out = {
            name: f"{row.select} domains on select, {row.test} on test; at least {self.min_domains} of each"
            for name, row in domains[~enough].iterrows()
        }
        return list(domains.index[enough]), left_out


PROTOCOLS = {
    "domains": Protocol(),
    "residues": Protocol(residue_level=None),
    "interplm": Protocol(10, 1500, RESIDUE_LEVEL, NOT_EVALUATED),
}
"""``domains``: recall by annotated domain; ``residues``: by residue; ``interplm``: that of Swiss-Prot concepts in Simon
and Zou 2025 (arXiv 2412.12101), by residue for single residues and by domain for others."""


def protocol_of(name: str) -> Protocol:
    """Return the protocol of a name.

    Raises
    ------
    SettingError
        If there is none of that name.
    """
    if name not in PROTOCOLS:
        message = f"residue_protocol must be one of {', '.join(PROTOCOLS)}, got {name}"
        raise SettingError(message, argument="residue_protocol")
    return PROTOCOLS[name]
