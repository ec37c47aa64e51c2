"""The report of a large run: how long it takes to write, how big it is, and how quickly it answers.

    python bench/report.py [features] [samples]

Makes a synthetic run in a temporary folder (30,000 features x 100,000 cells unless told otherwise), writes its
report, opens it from disk in a headless Chromium, and prints what it measured. Times in the browser end when the
page is in the DOM and a frame has been drawn. Writes nothing that stays.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from scipy import sparse

from biosae.artefacts import content_hash
from biosae.features.token_codes import TokenCodesShard
from biosae.report.page import write_report

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "report"))
import chromium  # the browser that the tests drive

N_GENES, N_CLASSES, D_IN, GENES_PER_FEATURE = 20_000, 20, 256, 50
TOKENS_PER_SAMPLE = 30
MEDIAN_ACTIVE_SHARE = 0.003  # of samples, per feature; log-normal, so that some are active on most
SWITCHES = 20
DRAWN = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"


def main() -> None:
    n_features, n_samples = (int(text) for text in (sys.argv[1:] or ("30000", "100000")))
    print(f"{n_features:,} features x {n_samples:,} cells, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        make_run(run, n_features, n_samples)
        start = time.perf_counter()
        page = write_report(run, run / "report")
        print(f"written in             {time.perf_counter() - start:8.1f} s")
        sizes = {path: path.stat().st_size for path in page.parent.rglob("*") if path.is_file()}
        print(f"folder                 {sum(sizes.values()) / 1e6:8.1f} MB, {len(sizes)} files")
        for name in ("core", "cells"):
            print(f"  {name:<20} {sizes[page.parent / 'data' / f'{name}.js'] / 1e6:8.1f} MB")
        blocks = sum(size for path, size in sizes.items() if path.name.startswith("features-"))
        print(f"  a feature            {blocks / n_features / 1e3:8.2f} kB")
        measure(page.as_uri(), n_features)


def measure(address: str, n_features: int) -> None:
    """Prints times of the browser in milliseconds and its heap."""
    with chromium.Page(chromium.find()) as page:
        start = time.perf_counter()
        page.open(address)
        print(f"open                   {1000 * (time.perf_counter() - start):8.0f} ms")
        routed(page, "feature list", "location.hash = '#/features'", "#/features")
        inside(
            page,
            "search as typed",
            "const b = document.getElementById('search'); b.value = 'gene12'; b.dispatchEvent(new Event('input'));",
        )
        inside(
            page,
            "clear the search",
            "const b = document.getElementById('search'); b.value = ''; b.dispatchEvent(new Event('input'));",
        )
        inside(page, "sort all rows", "document.querySelector('#features th:nth-child(5) button').click();")
        inside(page, "scroll frame", "document.querySelector('.scroller').scrollTop += 20000;")
        routed(page, "first feature", "location.hash = '#/feature/0'", "#/feature/0")
        for name, features in {
            "feature, cold": range(0, n_features, max(1, n_features // SWITCHES)),
            "feature, warm": range(1, SWITCHES),
        }.items():
            times = [switch(page, feature) for feature in features]
            print(f"{name:<22} {statistics.median(times):8.0f} ms median, {max(times):.0f} ms longest")
        page.send("HeapProfiler.collectGarbage")
        print(f"heap                   {page.send('Runtime.getHeapUsage')['usedSize'] / 1e6:8.0f} MB")
        assert not page.errors, page.errors


def inside(page: chromium.Page, name: str, script: str) -> None:
    """Time of a script and the frame after it, by the page's own clock."""
    script = (
        f"(async () => {{ const start = performance.now(); {script} {DRAWN} return performance.now() - start; }})()"
    )
    print(f"{name:<22} {page.evaluate(script):8.0f} ms")


def routed(page: chromium.Page, name: str, script: str, route: str) -> None:
    print(f"{name:<22} {timed(page, script, route):8.0f} ms")


def switch(page: chromium.Page, feature: int) -> float:
    return timed(page, f"location.hash = '#/feature/{feature}'", f"#/feature/{feature}")


def timed(page: chromium.Page, script: str, route: str) -> float:
    """Milliseconds from a click to the drawn page of its route."""
    there = f"document.documentElement.dataset.page === {json.dumps(route)}"
    return page.evaluate(
        f"(async () => {{ const start = performance.now(); {script};"
        f"while (!({there})) await new Promise((done) => setTimeout(done, 1)); {DRAWN}"
        "return performance.now() - start; })()"
    )


def make_run(folder: Path, n_features: int, n_samples: int) -> None:
    """Every artefact that the report reads, random but of the right shape and size."""
    rng = np.random.default_rng(0)
    codes = random_codes(rng, n_samples, n_features)
    kind = rng.integers(N_CLASSES, size=n_samples)
    part = np.array(["train", "validate", "select", "test"])[rng.choice(4, size=n_samples, p=[0.5, 0.1, 0.2, 0.2])]
    obs = pd.DataFrame({"cell_type": pd.Categorical.from_codes(kind, [f"type {i}" for i in range(N_CLASSES)])})
    obs = obs.assign(biosae_part=part, biosae_n_tokens=TOKENS_PER_SAMPLE).set_index(
        pd.Index([f"cell-{i}" for i in range(n_samples)])
    )
    frequency = np.diff(codes.tocsc().indptr) / n_samples
    var = pd.DataFrame({"frequency_token": frequency, "max_code": codes.max(axis=0).toarray().ravel()})
    var.index = [f"f{j}" for j in range(n_features)]
    umap = rng.normal(size=(n_samples, 2)) + 4 * rng.normal(size=(N_CLASSES, 2))[kind]
    empty = sparse.csr_matrix(codes.shape, dtype=np.float32)
    layers = dict.fromkeys(("mean", "sum", "fraction_active"), empty)
    uns = {"biosae": {"format": 1}}
    anndata.AnnData(codes, obs, var, layers=layers, obsm={"X_umap": umap}, uns=uns).write_h5ad(folder / "features.h5ad")
    save_file({"W_dec": rng.normal(size=(n_features, D_IN)).astype(np.float32)}, folder / "sae.safetensors")
    make_tables(rng, folder, n_features, frequency)
    make_token_codes(rng, folder / "token_codes", n_features, n_samples)
    settings = run_settings(n_features, n_samples, pd.Series(part).value_counts().to_dict())
    (folder / "run.json").write_text(json.dumps(settings))


def run_settings(n_features: int, n_samples: int, n_of_part: dict[str, int]) -> dict[str, Any]:
    settings = {"format": 1, "biosae": "0", "created": "", "command": "", "seed": 0, "versions": {}}
    settings["data"] = {
        "name": "synthetic",
        "n_samples": n_samples,
        "n_columns": N_GENES,
        "hash": "",
        "label_keys": ["cell_type"],
    }
    settings["split"] = {"n": n_of_part, "group_key": None, "seed": 0}
    settings["model"] = {
        "name": "synthetic",
        "fingerprint": "",
        "layer": 0,
        "n_layers": 1,
        "d_model": D_IN,
        "n_genes_matched": N_GENES,
    }
    settings["sae"] = {"variant": "TopK", "d_in": D_IN, "d_sae": n_features, "hash": ""}
    return settings


def random_codes(rng: np.random.Generator, n_samples: int, n_features: int) -> sparse.csr_matrix:
    n_active = np.minimum(n_samples, rng.lognormal(np.log(MEDIAN_ACTIVE_SHARE * n_samples), 1, n_features)).astype(int)
    feature = np.repeat(np.arange(n_features), n_active)
    sample = rng.integers(n_samples, size=len(feature))
    code = rng.gamma(2, 1, len(feature)).astype(np.float32)
    return sparse.csr_matrix((code, (sample, feature)), shape=(n_samples, n_features))


def make_tables(rng: np.random.Generator, folder: Path, n_features: int, frequency: np.ndarray) -> None:
    (folder / "tables").mkdir()
    auroc = rng.uniform(0.3, 1, (n_features, N_CLASSES))
    classes = np.array([f"type {i}" for i in range(N_CLASSES)])
    labels = {
        "feature": np.repeat(np.arange(n_features), N_CLASSES),
        "label": "cell_type",
        "class": np.tile(classes, n_features),
    }
    labels |= {"n_positive_select": 100, "n_positive_test": 100, "auroc_select": auroc.ravel(), "auroc": auroc.ravel()}
    labels |= {"average_precision": 0.5, "f1": 0.5, "threshold": 0.1}
    pd.DataFrame(labels).to_csv(folder / "tables" / "labels.csv", index=False, float_format="%.4f")
    gene = rng.integers(N_GENES, size=n_features * GENES_PER_FEATURE)
    share = np.tile(np.linspace(0.1, 0.001, GENES_PER_FEATURE), n_features)
    genes = {
        "feature": np.repeat(np.arange(n_features), GENES_PER_FEATURE),
        "gene": np.char.add("GENE", gene.astype(str)),
    }
    genes |= {
        "identifier": np.char.add("ENSG", gene.astype(str)),
        "n_tokens": 9,
        "n_samples": 9,
        "mean": 1.0,
        "max": 2.0,
    }
    genes |= {"share": share, "specificity": rng.random(len(gene))}
    table = pd.DataFrame(genes).drop_duplicates(["feature", "identifier"])
    table.to_csv(folder / "tables" / "genes.csv", index=False, float_format="%.4f")
    label = {"class": classes[auroc.argmax(axis=1)], "auroc_select": auroc.max(axis=1), "auroc": auroc.max(axis=1)}
    label |= {
        "auroc_low": auroc.max(axis=1) - 0.05,
        "auroc_high": np.minimum(1, auroc.max(axis=1) + 0.05),
        "null_auroc": 0.97,
    }
    label |= {
        "p_value": rng.random(n_features),
        "q_value": rng.random(n_features),
        "average_precision": 0.5,
        "base_rate": 0.05,
    }
    top = table.groupby("feature")["gene"].agg(lambda names: ";".join(names[:10]))
    analyses = {
        "density": pd.DataFrame({"frequency_token": frequency, "kind": "normal"}),
        "label:cell_type": pd.DataFrame(label),
    }
    analyses["genes"] = pd.DataFrame({"top_genes": top, "top_share": 0.1, "effective_genes": 20.0})
    pd.concat(analyses, axis=1).rename_axis("feature").to_csv(folder / "scores.csv", float_format="%.5g")


def make_token_codes(rng: np.random.Generator, folder: Path, n_features: int, n_samples: int) -> None:
    folder.mkdir()
    identifier = [f"ENSG{i}" for i in range(N_GENES)]
    vocabulary = {"token": range(N_GENES), "identifier": identifier, "name": [f"GENE{i}" for i in range(N_GENES)]}
    pd.DataFrame(vocabulary).to_csv(folder / "vocabulary.csv", index=False)
    n_tokens = n_samples * TOKENS_PER_SAMPLE
    entries = rng.lognormal(6, 1, n_features).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(entries)])
    sample = np.repeat(np.arange(n_samples), TOKENS_PER_SAMPLE)
    token = rng.integers(N_GENES, size=n_tokens, dtype=np.int32)
    value = rng.gamma(2, 3, n_tokens).astype(np.float32)
    row = rng.integers(n_tokens, size=offsets[-1], dtype=np.int32)
    shard = TokenCodesShard(sample, token, value, offsets, row, rng.gamma(2, 1, offsets[-1]).astype(np.float32))
    name = "shard-00000.safetensors"
    shard.write(folder / name, {})
    part = {"name": name, "n_tokens": n_tokens, "nnz": int(offsets[-1]), "hash": content_hash(folder / name)}
    manifest = {"format": 1, "d_sae": n_features, "n_tokens": n_tokens, "n_samples": n_samples, "nnz": int(offsets[-1])}
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sae_hash": "", "shards": [part]}))


if __name__ == "__main__":
    main()
