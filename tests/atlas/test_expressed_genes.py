import re

import numpy as np
import pandas as pd
import pytest

from biosae.atlas.expressed_genes import ExpressionTables
from biosae.atlas.feature_list import feature_names
from biosae.atlas.gene_index import GeneIndex
from biosae.atlas.page import write_report
from biosae.atlas.run_folder import read_run_folder

from . import chromium
from .synthetic import D_SAE

PROGRAM = chromium.find()


@pytest.fixture
def explained(own_run_folder):
    """The synthetic run with genes by expression, one of which the model does not know, and explanations."""
    tables = own_run_folder / "tables"
    rows = [(0, "MS4A1", "ENSGX", 0.7, 0.1, 0.001), (0, "NA", "ENSG00000000000", 0.5, -0.1, 0.01)]
    rows += [(3, "MS4A1", "ENSGX", 0.9, 0.2, 0.001)]
    columns = ["feature", "gene", "identifier", "effect", "effect_within_class", "q_value"]
    pd.DataFrame(rows, columns=columns).to_csv(tables / "expressed_genes.csv", index=False)
    coverage = {"identifier": ["ENSGX", "ENSG00000000000"], "gene": ["MS4A1", "NA"]}
    pd.DataFrame(coverage | {"n_expressing": [415, 9], "n_read": [16, 9]}).to_csv(
        tables / "gene_coverage.csv", index=False
    )
    names = ["B cells and <b>NK</b>"] + ["unexplained"] * (D_SAE - 1)
    explanations = {"feature": range(D_SAE), "name": names, "kind": "union", "fidelity": 0.7}
    explanations |= {"sentence": "Fires most in B cells and <b>NK</b>; this explains 70% of its held-out activity."}
    pd.DataFrame(explanations).to_csv(tables / "explanations.csv", index=False)
    tried = {"feature": [0, 0], "kind": ["class", "union"], "label": "cell_type", "terms": ["B cells", "B cells;NK"]}
    tried |= {"fidelity_select": [0.5, 0.7], "fidelity": [0.4, 0.7]}
    pd.DataFrame(tried).to_csv(tables / "explanations_tried.csv", index=False)
    return own_run_folder


def test_genes_that_the_model_does_not_know_have_a_number(explained):
    run = read_run_folder(explained)
    genes = GeneIndex(run)
    expressed = ExpressionTables(run, genes)
    top = expressed.top(D_SAE, 3)
    assert [genes.names[g] for g in top[0] if g >= 0] == ["MS4A1", "NA"]
    assert (top[1] == -1).all()
    content = expressed.of_features(0, 4)
    assert content["offsets"].values.tolist() == [0, 2, 2, 2, 3]
    np.testing.assert_allclose(content["effect"].values, [0.7, 0.5, 0.9])
    np.testing.assert_allclose(content["within"].values, [0.1, -0.1, 0.2], rtol=1e-6)


def test_a_gene_has_its_features_and_its_cells(explained):
    run = read_run_folder(explained)
    genes = GeneIndex(run)
    (shard,) = ExpressionTables(run, genes).shards()
    gene = genes.names.index("MS4A1")
    owned = slice(*shard["offsets"].values[gene : gene + 2])
    assert shard["feature"].values[owned].tolist() == [3, 0]  # largest effect first
    assert (shard["n_expressing"].values[gene], shard["n_read"].values[gene]) == (415, 16)
    assert shard["n_expressing"].values[genes.names.index("GENE1")] == -1


def test_a_run_without_them_has_none(run):
    expressed = ExpressionTables(run, GeneIndex(run))
    assert not expressed.exist and (expressed.top(D_SAE, 2) == -1).all()


def test_names_and_sentences_are_those_of_the_explanations(explained):
    names = feature_names(read_run_folder(explained))
    assert names[0].text == "B cells and <b>NK</b>" and names[0].reason.startswith("Fires most in")
    assert names[1].text == "unexplained"


@pytest.mark.browser
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: apt-get install chromium")
def test_the_page_shows_both_lists_and_why(explained):
    with chromium.Page(PROGRAM) as page:
        page.open(write_report(explained, explained / "report").as_uri() + "#/feature/0")
        page.wait("document.querySelectorAll('.drawing svg').length > 2")
        titles = page.evaluate("[...document.querySelectorAll('h2')].map((one) => one.textContent)")
        assert {"Tokens it reads", "Expressed where it fires", "Why this name"} <= set(titles)
        assert page.evaluate("document.querySelector('h1').textContent") == "B cells and <b>NK</b>"
        page.go("#/gene/ENSGX")
        lead = page.evaluate("document.querySelector('.lead').textContent")
        assert re.search("read it in 16 of the 415 cells that express it", lead)
        page.go("#/features")
        search = "const s = document.querySelector('#search'); s.value = 'ms4a1'; s.dispatchEvent(new Event('input'));"
        page.evaluate(f"(() => {{ {search} }})()")
        count = page.evaluate("document.querySelector('.count').textContent")
        assert count.startswith("2 of") and "among the first tokens of 0, among the first expressed genes of 2" in count
        assert page.errors == []
