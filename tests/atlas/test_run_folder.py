import shutil

import pandas as pd
import pytest

from biosae.atlas.run_folder import read_run_folder
from biosae.errors import ArtefactError

from .synthetic import D_SAE, N_CELLS


def test_reads_every_artefact(run):
    assert run.table.shape == (N_CELLS, D_SAE)
    assert run.label_keys == ["cell_type"]
    assert len(run.labels) == 5 * D_SAE
    assert run.W_dec.shape[0] == D_SAE
    assert run.token_codes.d_sae == D_SAE


def test_scores_of_a_number_are_no_classes(own_run_folder):
    scores = pd.read_csv(own_run_folder / "scores.csv", header=[0, 1], index_col=0)
    scores["label:age", "spearman"] = 0.1
    scores.to_csv(own_run_folder / "scores.csv")
    assert read_run_folder(own_run_folder).label_keys == ["cell_type"]


def test_gene_called_na_stays_a_gene(run):
    assert "NA" in set(run.genes["gene"])


def test_classes_that_look_like_numbers_stay_text(own_run_folder):
    scores = pd.read_csv(own_run_folder / "scores.csv", header=[0, 1], index_col=0)
    scores[("label:cell_type", "class")] = "3"
    scores.to_csv(own_run_folder / "scores.csv")
    read = read_run_folder(own_run_folder).scores
    assert set(read["label:cell_type", "class"]) == {"3"}
    assert read["label:cell_type", "auroc"].dtype == float
    assert pd.isna(read.loc[6, ("genes", "top_genes")])


@pytest.mark.parametrize(
    ("name", "command"),
    [("run.json", "the train stage"), ("features.h5ad", "the features stage"), ("scores.csv", "the analyze stage")],
)
def test_missing_required_artefact_names_its_command(own_run_folder, name, command):
    (own_run_folder / name).unlink()
    with pytest.raises(ArtefactError, match=f"{name}.*{command}"):
        read_run_folder(own_run_folder)


def test_optional_artefacts_may_be_absent(own_run_folder):
    for name in ("evaluation.json", "analysis.json", "metrics.csv", "sae.safetensors"):
        (own_run_folder / name).unlink()
    for name in ("tables", "token_codes"):
        shutil.rmtree(own_run_folder / name)
    run = read_run_folder(own_run_folder)
    optional = (
        run.evaluation,
        run.analysis,
        run.metrics,
        run.labels,
        run.genes,
        run.enrichment,
        run.token_codes,
        run.W_dec,
    )
    assert optional == (None,) * 8


def test_scores_of_another_run_are_refused(own_run_folder):
    scores = pd.read_csv(own_run_folder / "scores.csv", header=[0, 1], index_col=0)
    scores.iloc[:-1].to_csv(own_run_folder / "scores.csv")
    with pytest.raises(ArtefactError, match=f"scores.csv has {D_SAE - 1} features, features.h5ad has {D_SAE}"):
        read_run_folder(own_run_folder)
