"""The report of a large run: how long it takes to write, how big it is, and how quickly it answers.

    python bench/report.py [features] [samples]

Makes a synthetic run in a temporary folder (30,000 features x 100,000 cells unless told otherwise), writes its
report, opens it from disk in a headless Chromium, and prints what it measured. Times in the browser are by the clock,
until the second frame after the page is in the DOM, and "busy", the processor time of the page's main thread, which
other jobs on the machine change little. Writes nothing that stays.
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
from biosae.atlas.page import write_report
from biosae.features.token_codes import TokenCodesShard

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "report"))
import chromium  # the browser that the tests drive

N_GENES, N_CLASSES, D_IN, GENES_PER_FEATURE = 20_000, 20, 256, 50
TOKENS_PER_SAMPLE = 30
MEDIAN_ACTIVE_SHARE = 0.003  # of samples, per feature; log-normal, so that some are active on most
SWITCHES = 20
FRAMES = 120
DRAWN = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"


def main() -> None:
    n_features, n_samples = (int(text) for text in (sys.argv[1:] or ("30000", "100000")))
    print(f"{n_features:,} features x {n_samples:,} cells, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        make_run(run, n_features, n_samples)
        start, start_cpu = time.perf_counter(), time.process_time()
        page = write_report(run, run / "report")
        wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
        print(f"written in             {wall:8.1f} s, {cpu:.1f} s of one core")
        sizes = {path: path.stat().st_size for path in page.parent.rglob("*") if path.is_file()}
        print(f"folder                 {sum(sizes.values()) / 1e6:8.1f} MB, {len(sizes)} files")
        data = page.parent / "data"
        opened = sum(size for path, size in sizes.items() if path.parent != data or path.stem in ("core", "cells"))
        print(f"  read to open it      {opened / 1e6:8.1f} MB")
        print(f"  a cell               {sizes[data / 'cells.js'] / n_samples:8.1f} bytes")
        rest = sum(size for path, size in sizes.items() if path.parent == data and path.stem != "cells")
        print(f"  a feature            {rest / n_features / 1e3:8.2f} kB")
        measure(page.as_uri(), n_features)


def measure(address: str, n_features: int) -> None:
    """Prints times of the browser in milliseconds, by the clock and of its main thread, and its memory."""
    with chromium.Page(chromium.find()) as page:
        page.send("Performance.enable", timeDomain="threadTicks")
        start = time.perf_counter()
        page.open(address)
        print(f"open                   {1000 * (time.perf_counter() - start):8.0f} ms, {busy(page):.0f} ms busy")
        report("feature list", [timed(page, "location.hash = '#/features'", "#/features")])
        report("search as typed", [timed(page, typed("gene12"[:n])) for n in range(1, 7)])
        report("clear the search", [timed(page, typed(""))])
        report(
            "sort all rows",
            [
                timed(page, f"document.querySelector('#features th:nth-child({n}) button').click();")
                for n in (1, 2, 3, 5, 6)
            ],
        )
        scrolled(page)
        report("first feature", [switch(page, 0)])
        for name, features in {
            "feature, cold": range(n_features // SWITCHES, n_features, max(1, n_features // SWITCHES)),
            "feature, warm": range(1, SWITCHES),
        }.items():
            report(name, [switch(page, feature) for feature in features])
        page.send("HeapProfiler.collectGarbage")
        used = page.send("Runtime.getHeapUsage")
        objects, arrays = used["usedSize"] / 1e6, used["backingStorageSize"] / 1e6
        print(f"memory                 {objects:8.0f} MB of objects, {arrays:.0f} MB of arrays")
        assert not page.errors, page.errors


def busy(page: chromium.Page) -> float:
    """Milliseconds of processor time that the page's main thread has used until now."""
    values = {metric["name"]: metric["value"] for metric in page.send("Performance.getMetrics")["metrics"]}
    return 1000 * values["TaskDuration"]


def report(name: str, times: list[tuple[float, float]]) -> None:
    walls, cpus = zip(*times, strict=True)
    middle = f"{statistics.median(walls):8.0f} ms, {statistics.median(cpus):.0f} ms busy"
    print(f"{name:<22} {middle}; longest {max(walls):.0f}, {max(cpus):.0f}")


def typed(text: str) -> str:
    return f"const b = document.getElementById('search'); b.value = '{text}'; b.dispatchEvent(new Event('input'));"


def switch(page: chromium.Page, feature: int) -> tuple[float, float]:
    return timed(page, f"location.hash = '#/feature/{feature}'", f"#/feature/{feature}")


def timed(page: chromium.Page, script: str, route: str | None = None) -> tuple[float, float]:
    """Milliseconds from a script to the second frame after its page is there, and those of the main thread."""
    there = "true" if route is None else f"document.documentElement.dataset.page === {json.dumps(route)}"
    before = busy(page)
    wall = page.evaluate(
        f"(async () => {{ const start = performance.now(); {script};"
        f"while (!({there})) await new Promise((done) => setTimeout(done, 1)); {DRAWN}"
        "return performance.now() - start; })()"
    )
    return wall, busy(page) - before


def scrolled(page: chromium.Page) -> None:
    """Prints the time between frames while the feature list scrolls by ten rows a frame."""
    before = busy(page)
    frames = page.evaluate(
        "(async () => { const box = document.querySelector('.scroller'); const out = []; let last = performance.now();"
        f"for (let n = 0; n < {FRAMES}; n++) {{ box.scrollTop += 400; await new Promise(requestAnimationFrame);"
        "const now = performance.now(); out.push(now - last); last = now; } return out; })()"
    )
    cpu = (busy(page) - before) / FRAMES
    late = sum(frame > 1.5 * 1000 / 60 for frame in frames)
    print(f"frame when scrolling   {statistics.median(frames):8.0f} ms, {cpu:.0f} ms busy; {late} of {FRAMES} late")


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
    (folder / "manifest.json").write_text(
        json.dumps(manifest | {"sae_hash": "", "activations_hash": "", "shards": [part]})
    )


if __name__ == "__main__":
    main()
