"""Codes of single residues of proteins, beside their letters, neighbours, position, sites and the proteins' classes."""

from __future__ import annotations

from collections.abc import Sequence

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from biosae.analysis.labels.continuous import is_continuous
from biosae.features.token_codes import TokenCodes, TokenCodesShard

from .evidence import MIN_EXPRESSING, Classes, Evidence, Variables, classes_of

MOST_RESIDUES = 20_000  # of each part
PARTS = ("train", "select", "test")
RESIDUE, SITE = "residue", "site"
"""Keys of the classes that are not columns of obs."""


def have_residues(table: anndata.AnnData, codes: TokenCodes) -> bool:
    """True when the tokens of a run are residues: single letters, several per sample."""
    names = codes.vocabulary["name"]
    n_letters = int(((names.str.len() == 1) & names.str.isalpha()).sum())
    return 2 * n_letters > (names != "").sum() and bool(table.obs["biosae_n_tokens"].max() > 1)


def gather_residues(
    table: anndata.AnnData, codes: TokenCodes, sites: pd.DataFrame | None, label_keys: Sequence[str], seed: int
) -> Evidence:
    """Return the codes of some residues of each part, with what is known of them.

    Parameters
    ----------
    table
        The feature table; its matrices are not used.
    sites
        ``sample`` (row), ``start``, ``end`` (from 1, inclusive) and ``concept``; None for none.
    label_keys
        Columns of obs with classes of proteins.
    """
    generator, obs = np.random.default_rng(seed), table.obs
    drawn = _drawn_residues(obs, codes, generator)
    sample, letter, part = drawn["sample"], drawn["letter"], obs["biosae_part"].astype(str).to_numpy()[drawn["sample"]]
    proteins = obs.iloc[sample]
    labels = [_one_of("amino acid", RESIDUE, letter, part)]
    labels += [_sites(sites, sample, drawn["place"], part)] if sites is not None and len(sites) else []
    labels += [classes_of(proteins, key, part) for key in label_keys if not is_continuous(obs[key])]
    position = drawn["place"] / np.maximum(drawn["length"] - 1, 1)
    kmers, names = _kmers(drawn, part)
    return Evidence(
        rows=drawn["number"],
        codes=drawn["codes"],
        part=part,
        group=np.zeros(len(sample), np.int64),
        labels=[each for each in labels if each.names],
        variables=Variables.of([("position", "position", position)], len(sample)),
        genes=kmers,
        gene_names=names,
        gene_kind="k-mer",
    )


def _drawn_residues(obs: pd.DataFrame, codes: TokenCodes, generator: np.random.Generator) -> dict:
    """Residues drawn at random within the parts, at most about `MOST_RESIDUES` of each, with their neighbours."""
    part, n_tokens = obs["biosae_part"].astype(str).to_numpy(), obs["biosae_n_tokens"].to_numpy()
    share = np.zeros(len(obs))
    for name in PARTS:
        share[part == name] = MOST_RESIDUES / max(n_tokens[part == name].sum(), 1)
    letters = codes.vocabulary.set_index("token")["name"]
    letters = letters.reindex(range(int(letters.index.max()) + 1)).fillna("").to_numpy(object)
    pieces, blocks, start = [], [], 0
    for shard in codes.shards():
        chosen = np.flatnonzero(generator.random(shard.n_tokens) < share[shard.sample])
        pieces.append(_described(shard, chosen, letters, start))
        entries = sparse.csc_matrix((shard.code, shard.row, shard.feature_offsets), (shard.n_tokens, codes.d_sae))
        blocks.append(entries.tocsr()[chosen])
        start += shard.n_tokens
    drawn = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return drawn | {"codes": sparse.vstack(blocks, format="csc")}


def _described(shard: TokenCodesShard, chosen: np.ndarray, letters: np.ndarray, start: int) -> dict[str, np.ndarray]:
    """Protein, letter, place and neighbours of some residues of a shard, whose residues stand in their order."""
    names, sample = letters[shard.token], np.asarray(shard.sample)
    _, first, length = np.unique(sample, return_index=True, return_counts=True)
    own = np.repeat(np.arange(len(first)), length)
    before = np.where(np.arange(len(sample)) == first[own], "", np.roll(names, 1))
    after = np.where(np.arange(len(sample)) == (first + length - 1)[own], "", np.roll(names, -1))
    place = np.arange(len(sample)) - first[own]
    columns = {"sample": sample, "letter": names, "before": before, "after": after, "place": place}
    columns |= {"length": length[own], "number": start + np.arange(len(sample))}
    return {name: values[chosen] for name, values in columns.items()}


def _one_of(kind: str, key: str, text: np.ndarray, part: np.ndarray) -> Classes:
    """Classes of which every residue has one."""
    return classes_of(pd.DataFrame({key: text}), key, part, kind)


def _sites(sites: pd.DataFrame, sample: np.ndarray, place: np.ndarray, part: np.ndarray) -> Classes:
    """Annotated sites and domains, which may overlap."""
    names = sorted(set(sites["concept"]))
    column, member = {name: c for c, name in enumerate(names)}, np.zeros((len(sample), len(names)), dtype=bool)
    order = np.argsort(sample, kind="stable")
    ends = (
        np.searchsorted(sample[order], sites["sample"], side="left"),
        np.searchsorted(sample[order], sites["sample"], side="right"),
    )
    for first, last, row in zip(*ends, sites.itertuples(), strict=True):
        rows = order[first:last]
        rows = rows[(place[rows] >= row.start - 1) & (place[rows] <= row.end - 1)]
        member[rows, column[row.concept]] = True
    kept = [c for c in range(len(names)) if min(member[part == name, c].sum() for name in ("train", "select")) >= 3]
    return Classes(SITE, [names[c] for c in kept], member[:, kept])


def _kmers(drawn: dict, part: np.ndarray) -> tuple[sparse.csc_matrix, np.ndarray]:
    """Two and three residues in a row, the one that is meant in brackets, such as ``C[W]G``."""
    before, letter, after = drawn["before"], drawn["letter"], drawn["after"]
    middle = np.char.add(np.char.add("[", letter.astype(str)), "]")
    columns = []
    for left, right in ((before, ""), ("", after), (before, after)):
        has = (np.asarray(left) != "") | (np.asarray(right) != "")
        text = np.char.add(np.char.add(np.asarray(left, dtype=str), middle), np.asarray(right, dtype=str))
        columns.append(np.where(has, text, ""))
    names, number = np.unique(np.concatenate(columns), return_inverse=True)
    rows = np.tile(np.arange(len(letter)), 3)
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, number)), shape=(len(letter), len(names)))
    n_train = np.asarray(matrix[part == "train"].sum(axis=0)).ravel()
    kept = np.flatnonzero((n_train >= MIN_EXPRESSING) & (names != ""))
    return matrix[:, kept].tocsc(), names[kept].astype(object)
