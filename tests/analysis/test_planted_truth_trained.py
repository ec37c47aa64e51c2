"""The planted truth read by an SAE that was trained on it: the scores find what was planted, and nothing else."""

import numpy as np
import pytest
import torch
from scipy import sparse

from biosae.activations.source import ArrayActivations
from biosae.analysis.genes.enrichment import enrichment
from biosae.analysis.genes.gene_sets import GeneSets
from biosae.analysis.labels.classes import LabelColumn
from biosae.analysis.labels.marking import label_scores
from biosae.saes.build import build
from biosae.training.settings import TrainerSettings
from biosae.training.trainer import Trainer, TrainingRun

from .planted_truth import simulate

D_SAE = 64
SAME = 0.9  # cosine from which a feature stands for a programme


@pytest.fixture(scope="module")
def simulation():
    return simulate(seed=0)


@pytest.fixture(scope="module")
def sae(simulation, tmp_path_factory):
    """A TopK SAE trained on the tokens of the train cells."""
    part = simulation.obs["biosae_part"].astype(str).to_numpy()[simulation.sample]
    sources = [ArrayActivations(torch.from_numpy(simulation.values[part == p])) for p in ("train", "validate")]
    settings = {"k": 4, "auxk_coefficient": 1 / 32, "k_anneal_fraction": 0.0}
    sae = build("topk", simulation.values.shape[1], D_SAE, settings, seed=0)
    trainer = TrainerSettings(lr=0.01, epochs=15, batch_size=256)
    Trainer([TrainingRun(sae, trainer, tmp_path_factory.mktemp("sae"))], *sources).run()
    return sae


@pytest.fixture(scope="module")
def codes(simulation, sae):
    return sae.encode(torch.from_numpy(simulation.values)).dense().numpy()


@pytest.fixture(scope="module")
def stands_for(simulation, sae):
    """``(D_SAE,)`` kind and target of the programme that each feature's direction is; empty for none."""
    cosine = sae.W_dec.detach().numpy() @ simulation.programmes.T
    truth = simulation.truth.iloc[cosine.argmax(axis=1)].reset_index(drop=True)
    truth[cosine.max(axis=1) < SAME] = ""
    return truth


def test_training_finds_the_planted_directions(simulation, stands_for):
    planted = simulation.truth[simulation.truth["kind"] != "noise"]
    found = set(stands_for.itertuples(index=False, name=None))
    assert set(planted.itertuples(index=False, name=None)) <= found


@pytest.mark.parametrize(("key", "group"), [("cell_type", "donor"), ("donor", None)])
def test_each_class_is_marked_by_the_feature_of_its_programme(simulation, codes, stands_for, key, group):
    markers = scored(simulation, codes, key, group).markers
    assert list(stands_for.loc[markers["feature"], "kind"]) == [key] * len(markers)
    assert list(stands_for.loc[markers["feature"], "target"]) == list(markers["class"])
    assert (markers["p_value"] < 0.05).all()


def test_features_of_donors_batches_and_genes_are_no_cell_type_markers(simulation, codes, stands_for):
    best = scored(simulation, codes, "cell_type", "donor").best
    called = stands_for["kind"][best["q_value"] < 0.05]
    assert (called == "cell_type").sum() >= 5
    other = called[~called.isin(["cell_type", ""])]  # a feature of no single programme may mix in a cell type
    assert len(other) <= 0.05 * len(called) + 1  # what a false discovery rate of 5 % lets through, and one


def test_gene_families_are_found_by_their_features_alone(simulation, codes, stands_for):
    n_genes = len(simulation.symbols)
    member = sparse.csr_matrix((np.ones(len(codes)), (simulation.token, np.arange(len(codes)))), (n_genes, len(codes)))
    total = sparse.csr_matrix((member @ codes).T)
    families = [f"F{k}" for k in range(5)]
    genes = [frozenset(s for s in simulation.symbols if s.startswith(f"{name}G")) for name in families]
    n_tokens = np.bincount(simulation.token, minlength=n_genes)
    found = enrichment(total, n_tokens, simulation.symbols, GeneSets(families, ["truth"] * 5, genes), seed=0).table
    kind = stands_for.loc[found["feature"], "kind"].to_numpy()
    own = found[kind == "genes"]
    assert set(own["set"]) == set(families) and (own["overlap"] == 20).all()
    assert (own["set"] == "F" + stands_for.loc[own["feature"], "target"].to_numpy()).all()
    # Small codes leak onto other programmes' tokens; a feature of no single programme may be of a family too.
    leaked = found[(kind != "genes") & (kind != "")]
    assert (leaked["overlap"] < 10).all() and len(leaked) <= 5


def scored(simulation, codes, key, group):
    pooled = np.zeros((len(simulation.obs), codes.shape[1]))
    np.maximum.at(pooled, simulation.sample, codes)
    obs = simulation.obs
    part = obs["biosae_part"].astype(str).to_numpy()
    group = None if group is None else obs[group].astype(str)
    return label_scores(sparse.csr_matrix(pooled), LabelColumn(obs[key], part, group), 400, 0)
