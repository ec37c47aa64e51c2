"""The planted truth, and that the scores find it and nothing else."""

import numpy as np
import pytest
from scipy import sparse

from biosae.analysis.genes.enrichment import enrichment
from biosae.analysis.genes.gene_sets import GeneSets
from biosae.analysis.labels.classes import LabelColumn
from biosae.analysis.labels.continuous import continuous_scores
from biosae.analysis.labels.marking import label_scores
from biosae.analysis.labels.replicates import donor_scores

from .planted_truth import simulate


@pytest.fixture(scope="module")
def simulation():
    return simulate(seed=0)


def pool_max(simulation):
    """What a perfect SAE gives: the largest activity of each programme in each cell."""
    activity = simulation.activity.tocoo()
    out = np.zeros((len(simulation.obs), activity.shape[1]))
    np.maximum.at(out, (simulation.sample[activity.row], activity.col), activity.data)
    return sparse.csr_matrix(out)


@pytest.fixture(scope="module")
def pooled(simulation):
    return pool_max(simulation)


def programmes(simulation, kind):
    return set(np.flatnonzero(simulation.truth["kind"] == kind))


def test_the_same_seed_gives_the_same_cells(simulation):
    again, other = simulate(seed=0), simulate(seed=1)
    np.testing.assert_array_equal(simulation.values, again.values)
    assert not np.array_equal(simulation.values, other.values)


def test_there_are_more_programmes_than_dimensions(simulation):
    assert simulation.programmes.shape[0] > simulation.programmes.shape[1]
    np.testing.assert_allclose(np.linalg.norm(simulation.programmes, axis=1), 1, rtol=1e-6)
    residual = simulation.values - simulation.activity @ simulation.programmes
    np.testing.assert_allclose(residual.std(), 0.05, rtol=0.02)  # the noise asked for


def scored(simulation, pooled, key, group):
    obs = simulation.obs
    part = obs["biosae_part"].astype(str).to_numpy()
    group = None if group is None else obs[group].astype(str)
    return label_scores(pooled, LabelColumn(obs[key], part, group), 400, 0)


@pytest.mark.parametrize(("key", "group"), [("cell_type", "donor"), ("donor", None)])
def test_each_class_is_marked_by_its_programme(simulation, pooled, key, group):
    scores = scored(simulation, pooled, key, group)
    marker = scores.markers.set_index("class")["feature"]
    truth = simulation.truth
    for name, feature in marker.items():
        assert tuple(truth.loc[feature]) == (key, name)
    assert (scores.markers["p_value"] < 0.05).all()


def test_donors_and_batches_are_not_taken_for_cell_types():
    """Donors differ in composition: without shuffling within donors their programmes would look like markers."""
    simulation = simulate(seed=0, n_cells=2400)
    pooled = pool_max(simulation)
    significant = set(np.flatnonzero(scored(simulation, pooled, "cell_type", "donor").best["q_value"] < 0.05))
    assert programmes(simulation, "cell_type") <= significant
    assert len(significant - programmes(simulation, "cell_type")) <= 1  # 5 % of the findings are allowed
    free = set(np.flatnonzero(scored(simulation, pooled, "cell_type", None).best["q_value"] < 0.05))
    assert len(free & programmes(simulation, "donor")) > 2


def test_a_cell_type_holds_in_donor_after_donor():
    """Twelve donors, so that a feature that is right in every one reaches p = 1/4096."""
    simulation = simulate(seed=0, n_cells=1500, n_donors=12)
    pooled, truth, obs = pool_max(simulation), simulation.truth, simulation.obs
    wanted = np.where(truth["kind"] == "cell_type", truth["target"], "type0").astype(object)
    scores = donor_scores(pooled, obs["cell_type"].to_numpy(dtype=object), obs["donor"].to_numpy(dtype=str), wanted)
    assert set(np.flatnonzero(scores["q_value"] < 0.05)) == programmes(simulation, "cell_type")


def test_gene_families_are_found_and_nothing_else(simulation):
    n_genes = len(simulation.symbols)
    activity = simulation.activity.tocoo()
    shape = (activity.shape[1], n_genes)
    total = sparse.csr_matrix((activity.data, (activity.col, simulation.token[activity.row])), shape=shape)
    families = [f"F{k}" for k in range(5)]
    genes = [frozenset(s for s in simulation.symbols if s.startswith(f"{f}G")) for f in families]
    n_tokens = np.bincount(simulation.token, minlength=n_genes)
    found = enrichment(total, n_tokens, simulation.symbols, GeneSets(families, ["truth"] * 5, genes), seed=0)
    expected = {(row, f"F{simulation.truth.loc[row, 'target']}") for row in programmes(simulation, "genes")}
    assert set(zip(found.table["feature"], found.table["set"], strict=True)) == expected


def test_a_number_without_effect_has_no_markers(simulation, pooled):
    part = simulation.obs["biosae_part"].astype(str).to_numpy()
    scores = continuous_scores(pooled, LabelColumn(simulation.obs["age"], part), 400, 0)
    assert (scores["q_value"] < 0.05).sum() == 0
