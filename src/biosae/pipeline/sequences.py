"""Features of single sequences by the SAE of a run, and what a substitution changes, without the stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from biosae.atlas.feature_list import feature_names
from biosae.atlas.run_folder import read_run_folder
from biosae.data.fasta import Proteins
from biosae.errors import ArtefactError, DataError
from biosae.models.base import ModelAdapter
from biosae.run_record import read_run
from biosae.runs.config_file import read_settings
from biosae.saes import files
from biosae.saes.base import SAE

from .encode import check_same_model
from .models import load_model

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
TOKENS_PER_BATCH = 8192


@dataclass(frozen=True)
class SequenceReader:
    """The protein language model and the SAE of a run, ready for new sequences.

    Attributes
    ----------
    folder
        The run folder.
    layer
        Layer whose activations the SAE reads, from 0.
    """

    folder: Path
    model: ModelAdapter
    sae: SAE
    layer: int

    @cached_property
    def names(self) -> list[str]:
        """``(d_sae,)`` name of each feature; empty where the run was not analysed."""
        try:
            return [name.text for name in feature_names(read_run_folder(self.folder))]
        except ArtefactError:
            return [""] * self.sae.d_sae

    def codes(self, sequences: Sequence[str]) -> list[np.ndarray]:
        """Return the codes of each sequence, ``(n_residues, d_sae) float32``."""
        tokens = self.model.tokenize(Proteins([str(n) for n in range(len(sequences))], [*sequences]))
        found: dict[int, np.ndarray] = {}
        for batch in self.model.batches(tokens, np.arange(len(sequences)), TOKENS_PER_BATCH):
            (hidden,) = self.model.activations(batch, [self.layer])
            is_content = ~batch.special[batch.mask]
            owner = batch.sample[:, None].expand_as(batch.mask)[batch.mask][is_content].cpu().numpy()
            dense = self.sae.encode(hidden[is_content]).dense().detach().float().cpu().numpy()
            found |= {int(sample): dense[owner == sample] for sample in np.unique(owner)}
        return [found[n] for n in range(len(sequences))]

    def encode(self, sequence: str) -> pd.DataFrame:
        """Return the features of a sequence residue by residue, the strongest of each residue first.

        Returns
        -------
        One row per residue and active feature: ``position`` (from 1), ``residue``, ``feature``, ``code`` (activation
        units of the model) and ``name``.

        Raises
        ------
        DataError
            If the sequence holds anything but letters.
        """
        codes = self.codes([checked(sequence)])[0]
        place, feature = codes.nonzero()
        table = pd.DataFrame({"position": place + 1, "feature": feature, "code": codes[place, feature]})
        table.insert(1, "residue", np.array(list(sequence.upper()))[place])
        table["name"] = np.array(self.names, dtype=object)[feature]
        return table.sort_values(["position", "code"], ascending=[True, False], ignore_index=True)

    def compare(self, reference: str, variant: str, n_background: int = 18, seed: int = 0) -> pd.DataFrame:
        """Return how the features change from one sequence to another of the same length, residue by residue.

        The background is of random other amino acids at the substituted places, which says how much a feature changes
        there whatever is put in. With 18 of them the smallest p-value is 1/19.

        Parameters
        ----------
        n_background
            Random substitutions; of one place there are no more than 18.

        Returns
        -------
        One row per feature that is active in either, the largest change first: ``feature``, ``name``, ``reference`` and
        ``variant`` (summed codes), ``change``, ``position`` (from 1) of its largest change, ``background`` (mean
        absolute change) and ``p_value``.

        Raises
        ------
        DataError
            If the sequences do not differ, or not in substitutions alone.
        """
        places = _substituted(checked(reference), checked(variant))
        others = _random_variants(reference.upper(), variant.upper(), places, n_background, seed)
        first, second, *background = self.codes([reference, variant, *others])
        change = second.sum(0) - first.sum(0)
        by_chance = np.abs([codes.sum(0) - first.sum(0) for codes in background])
        rows = np.flatnonzero(first.any(0) | second.any(0))
        table = pd.DataFrame(
            {
                "feature": rows,
                "name": np.array(self.names, dtype=object)[rows],
                "reference": first.sum(0)[rows],
                "variant": second.sum(0)[rows],
                "change": change[rows],
                "position": np.abs(second - first)[:, rows].argmax(0) + 1,
                "background": by_chance.mean(0)[rows],
                "p_value": (1 + (by_chance >= np.abs(change))[:, rows].sum(0)) / (1 + len(background)),
            }
        )
        return table.sort_values("change", key=np.abs, ascending=False, ignore_index=True)


def open_sequence_reader(folder: Path | str, device: str = "auto") -> SequenceReader:
    """Load the model and the SAE of a run on protein sequences.

    Raises
    ------
    ArtefactError
        If the run is damaged, or reads cells or stored embeddings, which no new sequence has.
    """
    folder = Path(folder).expanduser()
    run, settings = read_run(folder), read_settings(folder)
    if settings.data.kind != "proteins":
        message = f"{folder} was trained on {settings.data.kind}, not on sequences that a protein model reads"
        raise ArtefactError(f"{message}; train on a FASTA file to encode new sequences")
    model = load_model(settings.plm, device)
    check_same_model(run, model)
    return SequenceReader(folder, model, files.load(folder, device=model.device), run["model"]["layer"])


def checked(sequence: str) -> str:
    """Return a sequence of letters; raises `DataError` for anything else."""
    if not sequence.isascii() or not sequence.isalpha():
        raise DataError(f"sequence must hold amino acids, one letter each, got {sequence[:20]!r}", "sequence")
    return sequence


def _substituted(reference: str, variant: str) -> np.ndarray:
    """Places from 0 at which two sequences differ."""
    if len(reference) != len(variant):
        message = f"reference and variant must have one length, got {len(reference)} and {len(variant)} residues"
        raise DataError(f"{message}; insertions and deletions shift what is compared", argument="variant")
    places = np.flatnonzero(np.array(list(reference.upper())) != np.array(list(variant.upper())))
    if len(places) == 0:
        raise DataError("reference and variant are the same sequence", argument="variant")
    return places


def _random_variants(reference: str, variant: str, places: np.ndarray, n: int, seed: int) -> list[str]:
    """Different sequences with other amino acids at the places than either has there."""
    choices = [[letter for letter in LETTERS if letter not in (reference[at], variant[at])] for at in places]
    if len(places) == 1:
        drawn = [[letter] for letter in np.random.default_rng(seed).permutation(choices[0])[:n]]
    else:
        generator = np.random.default_rng(seed)
        drawn = [[generator.choice(letters) for letters in choices] for _ in range(n)]
    made = []
    for letters in drawn:
        residues = list(reference)
        for place, letter in zip(places, letters, strict=True):
            residues[place] = str(letter)
        made.append("".join(residues))
    return made
