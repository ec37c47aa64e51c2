import json

import anndata
import numpy as np
import pandas as pd
import pytest

from biosae.analysis.results import Results, write_results

SAMPLES = anndata.AnnData(
    np.zeros((2, 3), "f4"),
    obs=pd.DataFrame({"biosae_part": ["train", "test"], "biosae_n_tokens": [4, 0]}, index=["a", "b"]),
)


def found(**tables):
    results = Results()
    results.add("density", pd.DataFrame({"share": [0.1, 0.2, 1 / 3]}), np.arange(2))
    results.tables |= tables
    return results


def test_tables_of_an_earlier_analysis_are_gone(tmp_path):
    table = pd.DataFrame({"feature": [0], "share": [1 / 3]})
    write_results(tmp_path, found(genes=table, enrichment=table), SAMPLES, {}, "earlier")
    write_results(tmp_path, found(genes=table), SAMPLES, {}, "now")
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["genes.csv"]
    record = json.loads((tmp_path / "analysis.json").read_text())
    assert (record["features_hash"], record["n_samples_without_tokens"]) == ("now", 1)


def test_scores_appear_after_all_tables(tmp_path):
    write_results(tmp_path, found(), SAMPLES, {}, "earlier")
    unwritable = found(genes=pd.DataFrame({"feature": [0]}), **{"no/such/name": None})
    with pytest.raises(AttributeError):
        write_results(tmp_path, unwritable, SAMPLES, {}, "now")
    assert not (tmp_path / "scores.csv").exists()
    assert not (tmp_path / "analysis.json").exists()
