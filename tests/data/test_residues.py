import numpy as np
import pytest

from biosae.data.residues import read_spans
from biosae.errors import DataError

IDS, LENGTHS = ["a", "b"], np.array([10, 5])
GFF = """##gff-version 3
a\tUniProtKB\tDomain\t2\t6\t.\t.\t.\tID=x;Note=SH2;Ontology_term=ECO:1
b\tUniProtKB\tActive site\t5\t5\t.\t.\t.\tNote=Proton acceptor
zz\tUniProtKB\tDomain\t1\t999\t.\t.\t.\tNote=SH2
"""


def write(tmp_path, text, name="spans.tsv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_table_gives_its_types_and_its_types_with_notes(tmp_path):
    spans = read_spans(
        write(tmp_path, "Entry\tstart\tend\ttype\tnote\na\t2\t6\tDomain\tSH2\nb\t1\t1\tSite\t\n"), IDS, LENGTHS
    )
    assert spans.to_dict("records") == [
        {"sample": 0, "start": 2, "end": 6, "concept": "Domain"},
        {"sample": 0, "start": 2, "end": 6, "concept": "Domain: SH2"},
        {"sample": 1, "start": 1, "end": 1, "concept": "Site"},
    ]


def test_gff_of_uniprot(tmp_path):
    spans = read_spans(write(tmp_path, GFF, "a.gff"), IDS, LENGTHS)
    assert list(spans["concept"]) == ["Domain", "Domain: SH2", "Active site", "Active site: Proton acceptor"]
    assert list(spans["sample"]) == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id\tstart\tend\na\t1\t2\n", "lacks the columns type; it has id, start, end"),
        ("id\tstart\tend\ttype\nq\t1\t2\tD\n", "annotates none of the 2 proteins"),
        ("id\tstart\tend\ttype\nb\t4\t6\tD\n", "has D of b at 4 to 6, outside its 5 residues"),
        ("id\tstart\tend\ttype\nb\t0\t2\tD\n", "outside its 5 residues"),
        ("id\tstart\tend\ttype\nb\tx\t2\tD\n", "outside its 5 residues"),
    ],
)
def test_stretches_that_do_not_fit_are_refused(tmp_path, text, says):
    with pytest.raises(DataError, match=says):
        read_spans(write(tmp_path, text), IDS, LENGTHS)
    with pytest.raises(DataError, match="does not exist"):
        read_spans(tmp_path / "absent.gff", IDS, LENGTHS)


def test_row_numbers_in_front_are_not_the_ids(tmp_path, caplog):
    text = "\tid\tstart\tend\ttype\n7\t{0}\t1\t4\tNA\n8\t{0}\t2\t2\tSite\n".format(IDS[0])
    with caplog.at_level("INFO"):
        spans = read_spans(write(tmp_path, text), IDS, LENGTHS)
    assert spans["concept"].tolist() == ["NA", "Site"]
    assert f"1 of {len(IDS)} proteins have annotated residues" in caplog.text
