"""One set of features in the formats that UniProt offers."""

import gzip
import json

import numpy as np
import pytest

from biosae.data.annotations import read_annotations
from biosae.data.feature_tables import read_features
from biosae.data.residues import read_spans
from biosae.errors import DataError


def json_feature(kind, start, end, note="", modifier="EXACT"):
    location = {"start": {"value": start, "modifier": modifier}, "end": {"value": end, "modifier": modifier}}
    return {"type": kind, "location": location, "description": note}


FILES = {
    "a.gff": """##gff-version 3
##sequence-region a 1 300
a\tUniProtKB\tDomain\t20\t60\t.\t.\t.\tNote=LRR 1%3B calcium-binding;Evidence=ECO:1;Dbxref=X
a\tUniProtKB\tTransmembrane\t70\t90\t.\t.\t.\tNote=Helical
a\tUniProtKB\tActive site\t5\t5\t.\t.\t.\t
b\tUniProtKB\tSignal peptide\t1\t22\t.\t.\t.\t
""",
    "a.txt": """ID   A_HUMAN  Reviewed;  300 AA.
AC   a; Q9XXX1;
FT   DOMAIN          20..60
FT                   /note="LRR 1;
FT                   calcium-binding"
FT                   /evidence="ECO:0000255|PROSITE-ProRule:PRU00159"
FT   TRANSMEM        70..90
FT                   /note="Helical"
FT   ACT_SITE        5
FT   CHAIN           <1..>300
FT   HELIX           ?..12
FT   TURN            a-2:3..4
//
ID   B_HUMAN
AC   b;
FT   SIGNAL          1..22
//
""",
    "a.json": json.dumps(
        {
            "results": [
                {
                    "primaryAccession": "a",
                    "features": [
                        json_feature("Domain", 20, 60, "LRR 1; calcium-binding"),
                        json_feature("Transmembrane", 70, 90, "Helical"),
                        json_feature("Active site", 5, 5),
                        json_feature("Chain", 1, 300, modifier="OUTSIDE"),
                        json_feature("Helix", None, 12, modifier="UNKNOWN"),
                    ],
                },
                {"primaryAccession": "b", "features": [json_feature("Signal", 1, 22)]},
            ]
        }
    ),
    "a.tsv": "Entry\tDomain [FT]\tGene Names\tActive site\tTransmembrane\tSignal peptide\n"
    'a\tDOMAIN 20..60; /note=""LRR 1; calcium-binding""; /evidence=""ECO:1""\tx\tACT_SITE 5\t'
    'TRANSMEM 70..90; /note=""Helical""\t\nb\t\t\t\t\tSIGNAL 1..22\nc\t\t\t\t\t\n',
}
EXPECTED = [
    (0, 5, 5, "Active site"),
    (0, 20, 60, "Domain"),
    (0, 20, 60, "Domain: LRR"),
    (0, 70, 90, "Transmembrane"),
    (0, 70, 90, "Transmembrane: Helical"),
    (1, 1, 22, "Signal peptide"),
]


@pytest.fixture(params=FILES)
def path(request, tmp_path):
    text = FILES[request.param]
    if request.param == "a.tsv":  # quoted as tables quote
        text = "\n".join("\t".join(f'"{f}"' if '"' in f else f for f in line.split("\t")) for line in text.split("\n"))
    file = tmp_path / f"{request.param}.gz"
    file.write_bytes(gzip.compress(text.encode()))
    return file


def test_the_formats_say_the_same_of_residues(path):
    spans = read_spans(path, ["a", "b", "c"], np.array([300, 30, 10]))
    assert list(spans.drop(columns="object").itertuples(index=False, name=None)) == EXPECTED


def test_the_formats_say_the_same_of_proteins(path):
    table = read_annotations(path, None, ["c", "b", "a"])
    terms = [set(map(str.strip, str(value).split(";"))) for value in table["features"].astype(object).fillna("none")]
    has = {"Domain", "Domain: LRR", "Transmembrane", "Transmembrane: Helical", "Active site"}
    assert terms == [{"none"}, {"Signal peptide"}, has]
    assert set(table) <= {"features", "Gene Names"}


def test_features_without_known_positions_are_left_out(tmp_path, caplog):
    path = tmp_path / "a.dat"
    path.write_text(FILES["a.txt"])
    found = read_features(path, "residues").set_index("type")
    assert found.loc["Chain", ["start", "end"]].tolist() == [1, 300]
    assert not {"Helix", "Turn"} & set(found.index)
    assert "2 of 7 features have no known positions" in caplog.text


def test_the_ligand_of_a_binding_site_is_its_note(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text('ID   A\nAC   a;\nFT   BINDING   3..4\nFT      /ligand="ATP"\nFT      /ligand_id="ChEBI:1"\n//\n')
    assert read_spans(path, ["a"], np.array([5]))["concept"].tolist() == ["Binding site", "Binding site: ATP"]


def test_other_tables_may_be_called_txt(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("id\tstart\tend\ttype\na\t1\t2\tDomain\n")
    assert read_spans(path, ["a"], np.array([5]))["concept"].tolist() == ["Domain"]


@pytest.mark.parametrize(("text", "says"), [("##gff-version 3\n", "holds no feature"), (None, "does not exist")])
def test_files_without_features_are_refused(tmp_path, text, says):
    path = tmp_path / "a.gff"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=f"^residues: .*{says}"):
        read_features(path, "residues")


@pytest.mark.parametrize("text", ["[1]", '{"results": [{}]}', '[{"primaryAccession": "a", "features": [{}]}]', "{"])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="^residues: .*cannot be read"):
        read_features(tmp_path / "a.json", "residues")
