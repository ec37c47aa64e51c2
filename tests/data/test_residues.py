import numpy as np
import pytest

from biosae.data.residues import read_spans
from biosae.errors import DataError, SettingError

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
    assert spans.drop(columns="object").to_dict("records") == [
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


BONDS = """ID   A
AC   P12345;
FT   DISULFID        3..9
FT   DISULFID        5
FT                   /note="Interchain"
FT   CROSSLNK        4
FT                   /note="Glycyl lysine isopeptide (Lys-Gly) (interchain with G-Cter in SUMO2)"
FT   MOD_RES         2
FT                   /note="Phosphoserine; by CK2"
FT   MOD_RES         8
FT                   /note="N6-acetyllysine"
FT   VAR_SEQ         1..10
FT                   /note="In isoform 2"
FT   VARIANT         6
FT   CONFLICT        6
FT   MUTAGEN         6
FT   CHAIN           1..10
FT   TOPO_DOM        1..3
FT                   /note="Extracellular"
FT   REPEAT          7..10
FT                   /note="WD 2; approximate"
//
"""


def concepts(spans):
    return {(row.concept, row.start, row.end) for row in spans.itertuples()}


def test_a_disulfide_bond_marks_its_two_ends_which_are_one_object(tmp_path):
    spans = read_spans(write(tmp_path, BONDS, "a.txt"), ["P12345"], np.array([10]))
    bonds = spans[spans["concept"] == "Disulfide bond"]
    assert concepts(bonds) == {("Disulfide bond", at, at) for at in (3, 9, 5)}
    ends = bonds.set_index("start")["object"]
    assert ends[3] == ends[9] != ends[5]
    assert concepts(spans) >= {("Disulfide bond: interchain", 5, 5), ("Cross-link: SUMO", 4, 4)}


def test_the_record_and_other_sequences_are_no_concepts_by_default(tmp_path, caplog):
    path = write(tmp_path, BONDS, "a.txt")
    with caplog.at_level("INFO"):
        kinds = {name.partition(":")[0] for name in read_spans(path, ["P12345"], np.array([10]))["concept"]}
    assert kinds == {"Disulfide bond", "Cross-link", "Modified residue", "Topological domain", "Repeat"}
    assert "5 features are left out" in caplog.text
    everything = read_spans(path, ["P12345"], np.array([10]), types=["all"])
    assert {"Chain", "Natural variant", "Mutagenesis"} <= set(everything["concept"])
    only = read_spans(path, ["P12345"], np.array([10]), types=["CHAIN"])
    assert concepts(only) == {("Chain", 1, 10)}
    with pytest.raises(DataError, match=r"has only Chain, which mark no residues.*residue_types=\[all\]"):
        read_spans(write(tmp_path, "id\tstart\tend\ttype\na\t1\t2\tCHAIN\n"), IDS, LENGTHS)
    with pytest.raises(SettingError, match=r"no feature has the type Helx; did you mean Helix\?|there are"):
        read_spans(path, ["P12345"], np.array([10]), types=["Helx"])


def test_notes_are_grouped_by_what_they_say(tmp_path):
    spans = read_spans(write(tmp_path, BONDS, "a.txt"), ["P12345"], np.array([10]))
    assert concepts(spans) >= {
        ("Modified residue: phosphorylation", 2, 2),
        ("Modified residue: acetylation", 8, 8),
        ("Topological domain: Extracellular", 1, 3),
        ("Repeat: WD", 7, 10),
    }


def test_fuzzy_ends_are_read_and_unknown_ones_counted(tmp_path, caplog):
    text = "id\tstart\tend\ttype\na\t<1\t>4\tDomain\na\t?2\t3\tMotif\na\t?\t3\tSite\n"
    with caplog.at_level("INFO"):
        spans = read_spans(write(tmp_path, text), IDS, LENGTHS)
    assert concepts(spans) == {("Domain", 1, 4), ("Motif", 2, 3)}
    assert "2 features may begin or end elsewhere" in caplog.text
    assert "1 of 3 features have no known positions" in caplog.text


def test_isoforms_match_their_parent_on_request(tmp_path):
    path = write(tmp_path, BONDS, "a.txt")
    with pytest.raises(DataError, match=r"1 are isoforms, such as P12345-2: match_isoforms=true"):
        read_spans(path, ["P12345-2"], np.array([10]))
    spans = read_spans(path, ["P12345", "P12345-2"], np.array([10, 10]), match_isoforms=True)
    own, isoform = (spans[spans["sample"] == n] for n in (0, 1))
    assert concepts(own) == concepts(isoform)
