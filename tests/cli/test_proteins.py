import json
import re
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from biosae.analysis.residues.domains import RESIDUE_ANNOTATIONS

MODELS = Path(__file__).resolve().parents[1] / "fixtures" / "models"
QUICK = ("training.epochs=1", "sae.dictionary_multiplier=2", "sae.hyperparams.k=4", "analysis.n_permutations=19")


@pytest.fixture(scope="module")
def fasta(tmp_path_factory):
    """60 proteins of 40 residues with a run of tryptophans each, where a domain is annotated, and two families."""
    folder = tmp_path_factory.mktemp("proteins")
    generator = np.random.default_rng(0)
    sequences, spans, rows = [], ["id\tstart\tend\ttype"], ["id\tfamily\tterms"]
    for n in range(60):
        letters = generator.choice(list("ACDEFGHIKLMNPQRSTVY"), 40)
        start = int(generator.integers(1, 30))
        letters[start - 1 : start + 7] = "W"
        sequences.append(f">sp|P{n:03d}|X_TEST\n{''.join(letters)}\n")
        spans.append(f"P{n:03d}\t{start}\t{start + 7}\tDomain")
        rows.append(f"P{n:03d}\t{'AB'[n % 2]}\t{'x; y' if n % 3 else 'x'}")
    (folder / "a.fasta").write_text("".join(sequences))
    (folder / "spans.tsv").write_text("\n".join(spans))
    (folder / "annotations.tsv").write_text("\n".join(rows))
    return folder


@pytest.mark.parametrize("model", ["esm2", "esm2_fair"])
def test_the_fixtures_run_as_a_user_types_it(biosae, tmp_path, model):
    words = (f"data.path={MODELS / 'esm2' / 'input.fasta'}", "plm=esm2", f"plm.model_dir={MODELS / model}")
    code, said = biosae("run", "data=fasta", *words, *QUICK)
    assert code == 0, said
    (report,) = tmp_path.glob("runs/0/*/report/index.html")
    assert "8 proteins, 476 residues" in said


def test_residues_and_labels_are_scored_and_later_stages_run_alone(biosae, fasta, tmp_path):
    words = (f"data.path={fasta}/a.fasta", f"plm.model_dir={MODELS / 'esm2'}", f"data.residues={fasta}/spans.tsv")
    words += (f"data.annotations={fasta}/annotations.tsv", "data.label_keys=[family,terms]", "data.split.test=0.2")
    code, said = biosae("train", "data=fasta", *words, "data.split.select=0.2", *QUICK[:-1], "sae.target_layer=1")
    assert code == 0, said
    for command in ("features", "analyze", "report"):
        code, said = biosae(command, *QUICK[-1:] if command == "analyze" else ())
        assert code == 0, said
    (run,) = (path.parent for path in tmp_path.glob("runs/0/*/run.json"))
    described = json.loads((run / "run.json").read_text())
    assert described["data"]["kind"] == "proteins"
    assert len(pd.read_csv(run / RESIDUE_ANNOTATIONS)) == 60
    scores = pd.read_csv(run / "scores.csv", header=[0, 1], index_col=0)
    assert {"f1", "precision", "recall", "null_f1"} <= set(scores["residues"].columns)
    assert set(scores["label:family"]["class"].dropna()) <= {"A", "B"}
    (concept,) = json.loads((run / "analysis.json").read_text())["summary"]["residues"]["concepts"]
    assert (concept["residue"], concept["residue_f1"]) == ("W", pytest.approx(1))
    table = anndata.read_h5ad(run / "features.h5ad")
    assert list(table.obs["biosae_n_tokens"].unique()) == [40]
    assert "enrichment" not in scores.columns.get_level_values(0)


def test_residues_of_a_file_stand_as_their_sequence_says(biosae, fasta, tmp_path):
    sequences = dict(re.findall(r">sp\|(P\d+)\|\S+\n(\w+)", (fasta / "a.fasta").read_text()))
    generator = np.random.default_rng(0)
    letters = {letter: generator.normal(size=16) for letter in "ACDEFGHIKLMNPQRSTVWY"}
    with h5py.File(tmp_path / "residues.h5", "w") as file:
        for name, sequence in sequences.items():
            file.create_dataset(name, data=np.stack([letters[letter] for letter in sequence]).astype("f2"))
    words = (f"data.path={tmp_path}/residues.h5", f"data.sequences={fasta}/a.fasta", f"data.residues={fasta}/spans.tsv")
    code, said = biosae("run", "data=protein_h5", *words, "training=default", *QUICK)
    assert code == 0, said
    (genes,) = tmp_path.glob("runs/0/*/tables/genes.csv")
    assert set(pd.read_csv(genes, keep_default_na=False)["gene"]) <= set("ACDEFGHIKLMNPQRSTVWYX")


def test_a_feature_table_labels_whole_proteins(biosae, tmp_path):
    generator = np.random.default_rng(0)
    kinds = ["Domain\t1\t9", "Transmembrane\t4\t8"]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for n in range(80):
            file.create_dataset(f"P{n:03d}", data=generator.normal(size=8) + 3 * (n % 2))
    rows = [f"P{n:03d}\tUniProtKB\t{kinds[n % 2]}\t.\t.\t.\tNote=SH2\n" for n in range(80)]
    (tmp_path / "a.gff").write_text("".join(rows))
    words = ("data=protein_h5", f"data.path={tmp_path}/a.h5")
    code, said = biosae("train", *words, f"data.residues={tmp_path}/a.gff")
    assert code == 1
    assert "data.residues cannot be told apart" in said
    more = (f"data.annotations={tmp_path}/a.gff", "data.split.select=0.2", "data.split.test=0.2", *QUICK[1:3])
    code, said = biosae("train", *words, *more, "training.epochs=5")
    assert code == 0, said
    for command in ("features", "analyze"):
        code, said = biosae(command, *QUICK[-1:] if command == "analyze" else ())
        assert code == 0, said
    (path,) = tmp_path.glob("runs/0/*/analysis.json")
    classes = json.loads(path.read_text())["summary"]["labels"]["features"]["classes"]
    assert {each["class"] for each in classes} == {"Domain", "Domain: SH2", "Transmembrane", "Transmembrane: SH2"}


def test_clusters_are_never_divided(biosae, fasta, tmp_path):
    (tmp_path / "clusters.tsv").write_text("".join(f"P{n - n % 4:03d}\tP{n:03d}\n" for n in range(60)))
    words = (
        f"data.path={fasta}/a.fasta",
        f"plm.model_dir={MODELS / 'esm2'}",
        f"data.split.groups={tmp_path}/clusters.tsv",
    )
    code, said = biosae("train", "data=fasta", *words, *QUICK)
    assert code == 0, said
    (split,) = (pd.read_csv(path) for path in tmp_path.glob("runs/0/*/split.csv"))
    assert (split.groupby("group")["part"].nunique() == 1).all()
    assert set(split["part"]) == {"train", "validate", "select", "test"}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.path=/absent.fasta", "/absent.fasta does not exist"),
        ("data.annotations=/absent.tsv", "/absent.tsv does not exist"),
        ("data.residues=/absent.tsv", "/absent.tsv does not exist"),
        ("data.split.groups=/absent.tsv", "/absent.tsv does not exist"),
        ("data.label_keys=[family]", "family not found: there is no table of annotations; give one as annotations"),
        ("data.n_proteins=99", "between 1 and the 60 proteins"),
        ("data.split.test=0", "must be above 0"),
        ("plm.model_dir=/absent", "/absent is not a folder"),
        ("data.counts_layer=x", "Key 'counts_layer' not in 'ProteinDataConfig'"),
    ],
)
def test_bad_settings_end_in_one_line(biosae, fasta, tmp_path, override, says):
    words = (f"data.path={fasta}/a.fasta", f"plm.model_dir={MODELS / 'esm2'}")
    code, said = biosae("train", "data=fasta", *words, override)
    assert code == 1
    assert says in said
    assert not (tmp_path / "runs").exists()


def test_data_of_no_kind_say_how_to_begin(biosae, tmp_path):
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text("name: mine\npath: a.h5\n")
    code, said = biosae("train", "--config-dir", str(tmp_path / "conf"), "data=mine")
    assert code == 1
    assert "begin your own data YAML with `defaults: [h5ad]`" in said


def test_identical_proteins_stay_in_one_part(biosae, tmp_path):
    generator = np.random.default_rng(0)
    values = [generator.normal(size=8) for _ in range(60)]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for n in range(80):  # the last 20 are copies
            file.create_dataset(f"P{n:03d}", data=values[n % 60])
    code, said = biosae("train", "data=protein_h5", f"data.path={tmp_path}/a.h5", *QUICK[:3], "data.split.test=0.3")
    assert code == 0, said
    assert said.count("40 proteins have an identical copy; copies stay in one part of the split") == 1
    (path,) = tmp_path.glob("runs/0/*/split.csv")
    part = pd.read_csv(path, index_col="sample")["part"]
    assert part[[f"P{n:03d}" for n in range(20)]].tolist() == part[[f"P{n:03d}" for n in range(60, 80)]].tolist()
    assert part.nunique() == 4


def test_near_copies_of_a_fasta_stay_in_one_part_and_the_parts_are_said(biosae, tmp_path):
    generator = np.random.default_rng(0)
    parents = ["".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), 40)) for _ in range(30)]
    mutants = ["W" + parent[1:] for parent in parents]
    text = "".join(f">P{n:02d}\n{sequence}\n" for n, sequence in enumerate([*parents, *mutants]))
    (tmp_path / "a.fasta").write_text(text)
    (tmp_path / "a.csv").write_text("id,kind\n" + "".join(f"P{n:02d},{'ab'[n % 2]}\n" for n in range(60)))
    words = (
        "data=fasta",
        f"data.path={tmp_path}/a.fasta",
        f"data.annotations={tmp_path}/a.csv",
        f"plm.model_dir={MODELS / 'esm2'}",
        *QUICK[:3],
    )
    code, said = biosae("train", *words, "data.split.select=0.2", "data.split.test=0.2", "data.label_keys=[kind]")
    assert code == 0, said
    assert "60 proteins have a near copy; the largest of 30 groups has 2" in said
    assert "split of 60 proteins: train" in said
    (path,) = tmp_path.glob("runs/0/*/split.csv")
    part = pd.read_csv(path, index_col="sample")["part"]
    assert part[[f"P{n:02d}" for n in range(30)]].tolist() == part[[f"P{n:02d}" for n in range(30, 60)]].tolist()
    kinds = pd.Series(["ab"[n % 2] for n in range(60)], [f"P{n:02d}" for n in range(60)])
    assert (pd.crosstab(kinds, part.reindex(kinds.index))[["select", "test"]] >= 3).all(axis=None)
