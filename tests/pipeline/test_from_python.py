"""Every stage as a Python call, in a process that could not import Hydra if it tried."""

import subprocess
import sys

import pandas as pd
import pytest

STAGES = """
import sys
sys.modules |= {"hydra": None, "omegaconf": None}  # importing either raises ImportError

import anndata, numpy as np
from dataclasses import replace
from pathlib import Path
from biosae.data.files import data_paths
from biosae.errors import DataError
from biosae.pipeline.benchmark import benchmark
from biosae.pipeline.compare import compare
from biosae.pipeline.encode import encode
from biosae.pipeline.prepare import prepare
from biosae.pipeline.report import report
from biosae.pipeline.score import score
from biosae.pipeline.steer import steer
from biosae.pipeline.train import train
from biosae.runs.config_file import read_settings
from biosae.runs.data_settings import CellData
from biosae.runs.settings import (
    AnalysisSettings, BenchmarkSettings, ChooseFeatures, CompareSettings, ExperimentSettings, SaeSettings, Settings,
    SteerSettings,
)

cells = anndata.read_h5ad(data_paths(None)[0])[:240].copy()
cells.obs["batch"] = np.where(np.arange(240) % 2, "odd", "even")
cells.write_h5ad("cells.h5ad")

topk = SaeSettings("topk", dictionary_multiplier=1, hyperparams={"k": 8})
settings = Settings(
    data=CellData(path="cells.h5ad", label_keys=["cell_type_coarse"], batch_key="batch"),
    sae=topk,
    experiment=ExperimentSettings(root="runs"),
    analysis=AnalysisSettings(n_permutations=19, run_gene_scoring=False, run_expression_scoring=False),
    steer=SteerSettings(
        choose=ChooseFeatures(by="random"), n_features_list=[4], seeds=[0], baselines=[], off_target_samples=10
    ),
    benchmark=BenchmarkSettings(context=[], n_halves=0),
    compare=CompareSettings(dictionary_multiplier=1, hyperparams={"k": 4}),
)
(folder,) = train(settings)
assert read_settings(folder) == settings
prepared = prepare(settings)
encode(folder, settings, prepared)
score(folder, settings.analysis)
steer(folder, settings, prepared)
try:
    benchmark(folder, settings, lambda: prepared)
except DataError as error:  # 240 cells are too few to score, which only the benchmark itself finds
    assert "need 200 samples" in str(error)
page = report(folder)
compared = compare(settings, {"topk": topk, "standard": SaeSettings("standard", hyperparams={"l1_coefficient": 0.1})})
print(folder, page, compared, sep="|")
"""


@pytest.mark.slow
def test_every_stage_runs_without_hydra(tmp_path):
    done = subprocess.run([sys.executable, "-c", STAGES], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder, page, compared = (tmp_path / path for path in done.stdout.strip().split("|"))
    written = {path.name for path in folder.iterdir()}
    assert {"sae.safetensors", "features.h5ad", "scores.csv", "steered.h5ad"} <= written
    assert page.exists()
    assert set(pd.read_csv(compared / "comparison.csv")["model"]) == {"topk", "standard"}
