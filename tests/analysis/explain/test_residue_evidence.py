from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.explain.explain import explain
from biosae.analysis.explain.naming import named
from biosae.analysis.explain.residue_evidence import gather_residues, have_residues
from biosae.features.token_codes import TokenCodesShard

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
N_PROTEINS, LENGTH = 300, 60


@pytest.fixture(scope="module")
def proteins():
    """Features on W; on K or R; on the G of C[G]; towards the end; on a site; in one family; anywhere at random."""
    generator = np.random.default_rng(0)
    token = generator.integers(0, 20, (N_PROTEINS, LENGTH))
    letter = np.array(list(LETTERS))[token]
    family = np.where(generator.random(N_PROTEINS) < 0.4, "toxin", "other")
    place = np.tile(np.arange(LENGTH), (N_PROTEINS, 1))
    start = generator.integers(1, 40, N_PROTEINS)
    sites = pd.DataFrame({"sample": np.arange(N_PROTEINS), "start": start, "end": start + 9, "concept": "binding"})
    inside = (place >= start[:, None] - 1) & (place <= start[:, None] + 8)
    after_c = np.pad(letter[:, :-1] == "C", ((0, 0), (1, 0)))
    planted = [
        letter == "W",
        np.isin(letter, ["K", "R"]),
        (letter == "G") & after_c,
        place / LENGTH,
        inside,
        np.repeat(family == "toxin", LENGTH).reshape(letter.shape),
        generator.random(letter.shape) < 0.1,
    ]
    dense = np.stack([np.asarray(each, float).ravel() for each in planted], axis=1)
    dense *= 1 + 0.1 * generator.random(dense.shape)
    codes = sparse.csc_matrix(dense.astype(np.float32))
    n = N_PROTEINS * LENGTH
    shard = TokenCodesShard(
        sample=np.repeat(np.arange(N_PROTEINS), LENGTH),
        token=token.ravel().astype(np.int32),
        value=np.zeros(n, np.float32),
        feature_offsets=codes.indptr.astype(np.int64),
        row=codes.indices.astype(np.int32),
        code=codes.data,
    )
    vocabulary = pd.DataFrame({"token": range(21), "identifier": [*LETTERS, "<cls>"], "name": [*LETTERS, "<cls>"]})
    obs = pd.DataFrame({"family": family, "biosae_n_tokens": LENGTH})
    obs["biosae_part"] = generator.choice(["train", "select", "test"], N_PROTEINS)
    table = anndata.AnnData(obs=obs.set_axis([f"p{i}" for i in range(N_PROTEINS)]))
    return table, SimpleNamespace(shards=lambda: [shard], vocabulary=vocabulary, d_sae=7, n_samples=N_PROTEINS), sites


@pytest.fixture(scope="module")
def chosen(proteins):
    table, codes, sites = proteins
    return explain(gather_residues(table, codes, sites, ["family"], seed=0), seed=0).chosen


@pytest.mark.parametrize(
    ("feature", "kind", "names"),
    [
        (0, "amino acid", {"W"}),
        (1, "union", {"K", "R"}),
        (2, "k-mer", {"C[G]"}),
        (3, "position", {"position"}),
        (4, "class", {"binding"}),
        (5, "class", {"toxin"}),
    ],
)
def test_planted_explanations_of_residues_are_recovered(chosen, feature, kind, names):
    row = chosen.loc[feature]
    assert (row["kind"], set(row["names"])) == (kind, names)
    assert row["fidelity"] > 0.8 and row["is_explained"]


def test_nothing_is_claimed_of_a_feature_that_fires_anywhere(chosen):
    assert not chosen.loc[6, "is_explained"]


def test_names_say_that_they_are_of_residues(proteins, chosen):
    table, _, _ = proteins
    tops = np.tile(np.arange(10), (7, 1))
    found = named(chosen, tops, table.obs, {}, "family")
    assert found["name"][:3].tolist() == ["W", f"residues {' and '.join(chosen['names'][1])}", "C[G]"]
    assert found["sentence"][0].startswith("Fires on W")
    assert found["sentence"][2].startswith("Fires on the residue in brackets of C[G]")


def test_genes_are_no_residues(proteins):
    table, codes, _ = proteins
    assert have_residues(table, codes)
    genes = SimpleNamespace(vocabulary=pd.DataFrame({"name": ["T", "CD74", "LYZ"]}))
    assert not have_residues(table, genes)
    whole = table.copy()
    whole.obs["biosae_n_tokens"] = 1
    assert not have_residues(whole, codes)
