import h5py
import numpy as np
import pytest

from biosae.pipeline.inspect_proteins import ProteinFiles, inspect_proteins, is_of_proteins

LETTERS = list("ACDEFGHIKLMNPQRSTVWY")


@pytest.fixture
def files(tmp_path):
    """60 proteins of 30 residues, ten of them near copies, with tables beside them."""
    generator = np.random.default_rng(0)
    sequences = ["".join(generator.choice(LETTERS, 30)) for _ in range(50)]
    sequences += ["W" + sequence[1:] for sequence in sequences[:10]]
    sequences[3] = "B" + sequences[3][1:20] + "j" * 10
    sequences[4] = sequences[4] * 40
    names = [f"P{n:02d}" for n in range(60)]
    text = "".join(f">{name}\n{sequence}\n" for name, sequence in zip(names, sequences, strict=True))
    (tmp_path / "a.fasta").write_text(text)
    (tmp_path / "a.csv").write_text(
        "id,kind\n" + "".join(f"{name},{'ab'[n % 2]}\n" for n, name in enumerate(names[:40]))
    )
    (tmp_path / "a.tsv").write_text("id\tstart\tend\ttype\nP00\t2\t9\tDISULFID\nP01\t1\t30\tCHAIN\n")
    (tmp_path / "c.tsv").write_text("".join(f"{name}\tc{n // 3}\n" for n, name in enumerate(names)))
    return tmp_path


def test_every_file_is_read_as_the_stages_would(files):
    others = {name: str(files / file) for name, file in {"annotations": "a.csv", "residues": "a.tsv"}.items()}
    found = inspect_proteins(ProteinFiles(files / "a.fasta", **others))
    assert found["file"].startswith("FASTA, 60 proteins, 2,970 residues")
    assert "10 residues of 1 proteins are in lower case" in found["file"]
    assert found["ids"] == "60, such as P00, P01, P02"
    assert "1 are longer than the 1,022 residues" in found["lengths"]
    assert "B 1, J 10; read as X: J" in found["letters"]
    assert "40 of 60 proteins annotated" in found["annotations"]
    assert "1 features are left out" in found["residues"]
    assert "1 concepts: Disulfide bond 1" in found["residues"]
    assert "have a near copy" in found["split"]
    assert "split of 60 proteins: train" in found["split"]
    assert "2 of 3 values can be scored" in found["label kind"] or "too few" in found["label kind"]


def test_clusters_and_what_would_stop_are_said(files):
    found = inspect_proteins(ProteinFiles(files / "a.fasta", groups=str(files / "c.tsv")))
    assert found["clusters"] == "20 clusters cover all proteins; the largest has 3"
    (files / "c.tsv").write_text("P00\tc1\n")
    found = inspect_proteins(ProteinFiles(files / "a.fasta", groups=str(files / "c.tsv")))
    assert "would stop: " in found["clusters"]
    assert "no cluster for 59 of the proteins" in found["clusters"]
    (files / "dna.fasta").write_text(f">a\n{'ACGT' * 30}\n")
    assert "would stop: " in inspect_proteins(ProteinFiles(files / "dna.fasta"))["file"]


def test_embeddings_of_proteins_and_of_residues(files):
    generator = np.random.default_rng(0)
    for name, shape in {"protein.h5": (8,), "residue.h5": (5, 8)}.items():
        with h5py.File(files / name, "w") as file:
            for n in range(40):
                file[f"P{n:02d}"] = generator.normal(size=shape)
    found = inspect_proteins(ProteinFiles(files / "protein.h5", residues=str(files / "a.tsv")))
    assert "one vector per protein, width 8, model not named (model= names it)" in found["file"]
    assert found["residues"].startswith("would stop: the file has one vector per protein")
    found = inspect_proteins(ProteinFiles(files / "residue.h5", sequences=str(files / "a.fasta")))
    assert "200 residues, width 8" in found["file"]
    assert "has 30 residues for P00, its embedding has 5 rows" in found["sequences"]
    assert found["lengths"].startswith("5 to 5 residues")


def test_proteins_are_known_by_the_name_of_the_file():
    assert [is_of_proteins(name) for name in ("a.fasta.gz", "a.faa", "x.h5", "a.h5ad", "folder")] == [
        True, True, True, False, False,
    ]  # fmt: skip
