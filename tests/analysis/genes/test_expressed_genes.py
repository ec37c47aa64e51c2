import json

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.genes.expressed_genes import expressed_genes, gene_coverage
from biosae.analysis.genes.gene_sets import read_gene_sets
from biosae.analysis.score_features import score_features
from biosae.features.expression import write_expression
from biosae.features.feature_table import read_feature_table
from biosae.features.token_codes import TokenCodes

from ..conftest import MARKER, N_GENES
from ..test_score_features import SETTINGS

N_CELLS = 600


@pytest.fixture(scope="module")
def planted():
    """Feature 0 follows genes 0 to 9, feature 1 a class that genes 10 to 19 mark, feature 2 nothing, 3 never fires."""
    generator = np.random.default_rng(1)
    is_b = generator.random(N_CELLS) < 0.3
    expression = generator.gamma(1, 1, (N_CELLS, 60)) * (generator.random((N_CELLS, 60)) < 0.4)
    signal = generator.gamma(1, 1, N_CELLS)
    expression[:, :10] += signal[:, None]
    expression[:, 10:20] += 2 * is_b[:, None]
    codes = np.zeros((N_CELLS, 4), np.float32)
    codes[:, 0] = signal + 0.1 * generator.random(N_CELLS)
    codes[:, 1] = is_b * (1 + 0.1 * generator.random(N_CELLS))
    codes[:, 2] = generator.gamma(1, 1, N_CELLS)
    obs = pd.DataFrame({"cell_type": np.where(is_b, "B", "T"), "biosae_n_tokens": 5})
    obs["biosae_part"] = generator.choice(["train", "select", "test"], N_CELLS)
    features = anndata.AnnData(sparse.csr_matrix(codes), obs.set_axis([f"c{i}" for i in range(N_CELLS)]))
    var = pd.DataFrame({"identifier": [f"ENSG{i}" for i in range(60)], "symbol": [f"G{i}" for i in range(60)]})
    var["token"] = -1
    genes = anndata.AnnData(
        sparse.csr_matrix(expression.astype(np.float32)), obs=pd.DataFrame(index=features.obs_names)
    )
    genes.var = var.set_axis([f"g{i}" for i in range(60)])
    return features, genes


@pytest.fixture(scope="module")
def found(planted):
    return expressed_genes(*planted, "cell_type", None, seed=0)


def test_planted_genes_lead_and_shuffled_codes_have_none(found):
    names = found.scores["top_genes"]
    assert set(names[0].split(";")) == {f"G{i}" for i in range(10)}
    assert set(names[1].split(";")) == {f"G{i}" for i in range(10, 20)}
    assert found.scores.loc[[0, 1], "n_significant"].tolist() == [10, 10]
    assert found.scores.loc[2, "n_significant"] == 0 and pd.isna(names[3])
    assert (found.scores["null_effect"].dropna().abs() < 0.1).all()
    assert found.scores.loc[0, "effect"] > 0.6


def test_effects_are_those_of_the_test_cells(planted, found):
    features, genes = planted
    test = (features.obs["biosae_part"] == "test").to_numpy()
    codes, values = features.X.toarray()[test], genes.X.toarray()[test]
    for row in found.table.head(15).itertuples():
        r = np.corrcoef(codes[:, row.feature], values[:, int(row.gene[1:])])[0, 1]
        assert row.effect == pytest.approx(r, abs=1e-5)


def test_what_a_class_explains_is_gone_within_it(found):
    table = found.table.set_index(["feature", "gene"])
    assert table.loc[(1, "G10"), "effect"] > 0.5 and abs(table.loc[(1, "G10"), "effect_within_class"]) < 0.2
    assert table.loc[(0, "G0"), "effect_within_class"] > 0.5


def test_q_values_of_pure_noise_are_rarely_small():
    generator = np.random.default_rng(3)
    obs = pd.DataFrame({"biosae_n_tokens": np.ones(400), "biosae_part": generator.choice(["train", "test"], 400)})
    noise = [sparse.random(400, n, 0.2, random_state=generator, format="csr", dtype=np.float32) for n in (200, 100)]
    features = anndata.AnnData(noise[0], obs.set_axis(map(str, range(400))))
    genes = anndata.AnnData(noise[1], obs=pd.DataFrame(index=features.obs_names))
    genes.var = genes.var.assign(identifier=genes.var_names, symbol=genes.var_names, token=-1)
    found = expressed_genes(features, genes, None, None, seed=0)
    assert (found.table["q_value"] < 0.05).mean() < 0.01
    assert found.table["effect_within_class"].isna().all()


def test_a_run_lists_genes_by_expression_and_where_they_were_read(run, tokens):
    features = read_feature_table(run / "features.h5ad")
    expressed = np.zeros((features.n_obs, N_GENES + 1), np.float32)
    expressed[tokens["sample"], tokens["token"]] = 1
    expressed[:, N_GENES] = tokens["label"] == "B"  # a gene that the model does not know
    genes = pd.DataFrame({"identifier": [f"ENSG{n}" for n in range(N_GENES + 1)]})
    genes["symbol"] = [f"GENE{n}" for n in range(N_GENES)] + ["MS4A1"]
    genes["token"] = [*range(N_GENES), -1]
    genes.index = genes["identifier"].astype(str)
    write_expression(run / "expression.h5ad", [sparse.csr_matrix(expressed)], genes, features.obs_names, "def")
    score_features(run / "features.h5ad", run / "token_codes", run, **SETTINGS)
    table = pd.read_csv(run / "tables" / "expressed_genes.csv")
    assert list(table.columns) == ["feature", "gene", "identifier", "effect", "effect_within_class", "q_value"]
    assert table.loc[table["feature"] == MARKER["B"], "gene"].iloc[0] == "MS4A1"
    coverage = pd.read_csv(run / "tables" / "gene_coverage.csv").set_index("gene")
    assert coverage.loc["MS4A1"].tolist() == ["ENSG30", int((tokens["label"] == "B").sum()), 0]
    lines = (run / "tables" / "expressed_genes.gmt").read_text().splitlines()
    gmt = {line.split("\t")[0]: line.split("\t")[1:] for line in lines}
    assert gmt[f"f{MARKER['B']}"][:2] == ["unnamed", "MS4A1"]
    assert read_gene_sets([run / "tables" / "expressed_genes.gmt"]).names == list(gmt)
    summary = json.loads((run / "analysis.json").read_text())["summary"]["expressed"]
    assert summary["least_read"][0]["gene"] == "MS4A1" and summary["least_read"][0]["n_read"] == 0
    assert 0.9 < summary["read_share"] < 1
    known = coverage.drop("MS4A1")
    assert (known["n_expressing"] == known["n_read"]).all()


def test_coverage_counts_a_gene_once_a_cell(run, tokens):
    genes = pd.DataFrame({"identifier": ["ENSG9"], "symbol": ["GENE9"], "token": [9]})
    coverage = gene_coverage(genes, np.array([1]), TokenCodes(run / "token_codes"))
    assert coverage["n_read"].tolist() == [int((tokens["token"] == 9).sum())]
