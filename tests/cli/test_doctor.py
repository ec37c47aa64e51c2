import importlib.metadata

import numpy as np

from biosae.cli import doctor
from biosae.data.files import data_paths


def test_says_what_it_would_do_with_a_file(biosae):
    code, said = biosae("doctor", str(data_paths(None)[0]))
    assert code == 0
    assert "X counts" in said
    assert "2,638 cells x 13,656 genes" in said
    assert "geneformer-mini knows" in said
    assert "GB free" in said


def test_a_file_it_cannot_use_is_explained(biosae, tmp_path):
    import anndata
    import numpy as np

    path = tmp_path / "log.h5ad"
    anndata.AnnData(np.log1p(np.random.default_rng(0).poisson(2, (5, 4)).astype("f4"))).write_h5ad(path)
    code, said = biosae("doctor", str(path))
    assert code == 0
    assert "log-transformed values" in said
    assert "would stop" in said
    code, said = biosae("doctor", str(tmp_path / "absent.h5ad"))
    assert code == 1
    assert "does not exist" in said


def test_a_batch_that_determines_a_label_is_flagged(tmp_path):
    import anndata

    cells = anndata.read_h5ad(data_paths(None)[0])[:400].copy()
    cells.obs["disease"] = ["ill" if n % 4 < 2 else "well" for n in range(400)]
    cells.obs["donor"] = [f"donor{n % 4}" for n in range(400)]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    said = doctor.inspect_file(str(tmp_path / "cells.h5ad"), "geneformer-mini")["would use"]
    assert "every donor has one value of disease: " in said
    assert "one value of cell_type" not in said


def test_missing_extras_name_the_line_that_installs_them(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "wandb":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert doctor.extras()["tracking"].startswith("wandb missing: pip install 'biosae[tracking]'")


def test_its_report_goes_to_standard_output(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["biosae doctor"])
    doctor.main()
    said = capsys.readouterr()
    assert "GB free" in said.out and not said.err


def test_a_fasta_and_its_annotations_are_looked_at(biosae, tmp_path):
    generator = np.random.default_rng(0)
    letters = list("ACDEFGHIKLMNPQRSTVWY")
    text = "".join(f">P{n:02d}\n{''.join(generator.choice(letters, 20))}\n" for n in range(60))
    (tmp_path / "a.fasta").write_text(text)
    (tmp_path / "a.csv").write_text("id,kind\n" + "".join(f"P{n:02d},{'ab'[n % 2]}\n" for n in range(50)))
    code, said = biosae("doctor", str(tmp_path / "a.fasta"), "--annotations", str(tmp_path / "a.csv"))
    assert code == 0, said
    said = " ".join(said.split())
    assert "FASTA, 60 proteins, 1,200 residues" in said
    assert "50 of 60 proteins annotated" in said
