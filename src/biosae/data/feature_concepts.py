"""Concepts of UniProt's features: which are scored, which residues they mark, and the group that a note names."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from biosae.errors import SettingError
from biosae.registry import nearest

logger = logging.getLogger(__name__)

# fmt: off
NAMES = {
    "ACT_SITE": "Active site", "BINDING": "Binding site", "CARBOHYD": "Glycosylation", "CHAIN": "Chain",
    "COILED": "Coiled coil", "COMPBIAS": "Compositional bias", "CONFLICT": "Sequence conflict",
    "CROSSLNK": "Cross-link", "DISULFID": "Disulfide bond", "DNA_BIND": "DNA binding", "DOMAIN": "Domain",
    "HELIX": "Helix", "INIT_MET": "Initiator methionine", "INTRAMEM": "Intramembrane", "LIPID": "Lipidation",
    "MOD_RES": "Modified residue", "MOTIF": "Motif", "MUTAGEN": "Mutagenesis", "NON_CONS": "Non-adjacent residues",
    "NON_STD": "Non-standard residue", "NON_TER": "Non-terminal residue", "PEPTIDE": "Peptide",
    "PROPEP": "Propeptide", "REGION": "Region", "REPEAT": "Repeat", "SIGNAL": "Signal peptide", "SITE": "Site",
    "STRAND": "Beta strand", "TOPO_DOM": "Topological domain", "TRANSIT": "Transit peptide",
    "TRANSMEM": "Transmembrane", "TURN": "Turn", "UNSURE": "Sequence uncertainty", "VARIANT": "Natural variant",
    "VAR_SEQ": "Alternative sequence", "ZN_FING": "Zinc finger",
}
"""Names in GFF and JSON of the keys of the text format (UniProt's user manual, section 3.19)."""

OTHER_NAMES = {"Signal": "Signal peptide", "Modified": "Modified residue"}
"""Names that a format writes another way: those of JSON."""

NOT_CONCEPTS = (
    "Chain", "Alternative sequence", "Natural variant", "Sequence conflict", "Mutagenesis",
    "Sequence uncertainty", "Non-terminal residue", "Non-adjacent residues",
)
"""Types of the record, of other sequences and of experiments: no property of the residues that they name."""
# fmt: on

BONDS = ("Disulfide bond", "Cross-link")
"""Types whose two positions are the residues that are linked, with nothing between them marked."""

ALL = "all"
NUMBERED = ("Domain", "Repeat", "Zinc finger", "Transmembrane", "Intramembrane", "Coiled coil", "Region")
"""Types whose notes count the occurrences in a protein: ``WD 1``, ``WD 2``."""

GROUPS = {
    "Modified residue": (
        ("phospho(?!pantetheine)", "phosphorylation"), ("acetyl", "acetylation"), ("methyl", "methylation"),
        ("pantetheine|pyridoxal|fmn|lipoyl|biotin|retinylidene", "cofactor"), ("hydroxy", "hydroxylation"),
        ("carboxy", "carboxylation"), ("succinyl|malonyl|glutaryl|crotonyl|butyryl|lactoyl", "acylation"),
        ("pyrrolidone", "pyrrolidone carboxylic acid"), ("amide", "amidation"), ("sulfo", "sulfation"),
        ("citrulline", "citrullination"), ("nitros|nitro", "nitrosylation"), ("adp-ribosyl", "ADP-ribosylation"),
        ("formyl", "formylation"), ("cysteine sulf|oxo|sulfoxide", "oxidation"), ("amp-|ump-", "nucleotide"),
    ),
    "Glycosylation": tuple((f"{atom.lower()}-linked", f"{atom}-linked") for atom in "NOCS"),
    "Lipidation": (
        ("gpi", "GPI anchor"), ("palmitoyl", "palmitoylation"), ("myristoyl", "myristoylation"),
        ("farnesyl|geranyl", "prenylation"), ("diacylglycerol", "diacylglycerol"), ("cholesterol", "cholesterol"),
    ),
    "Cross-link": (("sumo", "SUMO"), ("ubiquitin", "ubiquitin"), ("nedd8", "NEDD8")),
    "Disulfide bond": (("interchain", "interchain"), ("redox", "redox-active")),
}  # fmt: skip
"""Type -> (pattern in the lower-case note, group), the first that fits; of others the note is its own group."""


def chosen(features: pd.DataFrame, types: Sequence[str] | None) -> pd.DataFrame:
    """Return the features of some types, and say which were left out.

    Parameters
    ----------
    features
        Rows with a column ``type``.
    types
        Names or keys of UniProt to keep, ``["all"]``, or None for all but `NOT_CONCEPTS`.

    Raises
    ------
    SettingError
        If a type that is asked for is in none of the rows.
    """
    if types is None:
        kept = ~features["type"].isin(NOT_CONCEPTS)
        said = "which describe the record or other sequences; residue_types=[all] keeps them"
    elif list(types) == [ALL]:
        return features
    else:
        wanted, known = [named(one) for one in types], sorted(set(features["type"]))
        for name in wanted:
            if name not in known:
                message = f"residue_types: no feature has the type {name}; {nearest(name, known)}"
                raise SettingError(message, argument="residue_types")
        kept, said = features["type"].isin(wanted), "which residue_types does not name"
    counts = features["type"][~kept].value_counts()
    if len(counts):
        most = ", ".join(f"{name} {n:,}" for name, n in counts.head(5).items())
        logger.info("%s features are left out, %s: %s", f"{counts.sum():,}", said, most)
    return features[kept]


def named(type_: str) -> str:
    """Return the name of a type that is written as a name or as a key of the text format."""
    return NAMES.get(type_, OTHER_NAMES.get(type_, type_))


def group_of(type_: str, note: str) -> str:
    """Return the group that a note names within its type, such as ``phosphorylation`` for ``Phosphoserine; by CK2``.

    Qualifiers after a semicolon are dropped, and the numbers that count repeats. Notes of types that are not UniProt's
    stay as they are.
    """
    if type_ not in NAMES.values():
        return note
    note = note.partition(";")[0].strip()
    for pattern, group in GROUPS.get(type_, ()):
        if re.search(pattern, note.lower()):
            return group
    return re.sub(r"\s+\d+$", "", note) if type_ in NUMBERED else note


def with_groups(features: pd.DataFrame) -> pd.DataFrame:
    """Features, and those whose note names a group once more under ``type: group``."""
    pairs = features[["type", "note"]].drop_duplicates()
    group = {(kind, note): group_of(kind, note) for kind, note in pairs.itertuples(index=False)}
    groups = pd.Series([group[pair] for pair in zip(features["type"], features["note"], strict=True)], features.index)
    noted = groups != ""
    again = features[noted].assign(type=features["type"][noted] + ": " + groups[noted])
    return pd.concat([features, again], ignore_index=True)


def ends_of_bonds(features: pd.DataFrame) -> pd.DataFrame:
    """Return stretches with a number in ``object``: a bond becomes its two ends, which share one number."""
    features = features.assign(object=np.arange(len(features)))
    is_bond = features["type"].str.partition(":")[0].isin(BONDS) & (features["start"] < features["end"])
    bonds = features[is_bond]
    ends = [bonds.assign(end=bonds["start"]), bonds.assign(start=bonds["end"])]
    return pd.concat([features[~is_bond], *ends]).sort_values("object", kind="stable", ignore_index=True)
