import gzip

import numpy as np
import pytest
from scipy import sparse

from biosae.analysis.genes.gene_sets import family_members, gene_family_scores, packaged_gene_sets, read_gene_sets
from biosae.errors import DataError


def test_a_gmt_file_is_read(tmp_path):
    path = tmp_path / "mine.gmt"
    path.write_text("first\tdescription\tIL2RA\tFOXP3\n\nsecond\t\tCD19,1.0\tMS4A1,0.5\t\n")
    sets = read_gene_sets([path])
    assert sets.names == ["first", "second"]
    assert sets.sources == ["mine", "mine"]
    assert sets.genes == [{"IL2RA", "FOXP3"}, {"CD19", "MS4A1"}]


def test_compressed_gmt_and_json_are_read_together(tmp_path):
    (tmp_path / "a.gmt.gz").write_bytes(gzip.compress(b"first\tx\tIL2RA"))
    (tmp_path / "b.json").write_text('{"second": ["CD19"]}')
    sets = read_gene_sets([tmp_path / "a.gmt.gz", str(tmp_path / "b.json")])
    assert (sets.names, sets.sources) == (["first", "second"], ["a", "b"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.gmt", "fine\td\tIL2RA\nbroken line\n", "line 2: expected a name, a description and gene symbols"),
        ("x.gmt", "empty set\tdescription\t\n", "line 1"),
        ("x.gmt", "one\td\tA\none\td\tB\n", "line 2: the set one is there twice"),
        ("x.gmt", "\n", "holds no set"),
        ("x.gmt.gz", "not compressed", "cannot be read"),
        ("x.json", "{", "is no JSON"),
        ("x.json", '{"set": "IL2RA"}', "must map set names to lists"),
        ("x.csv", "a,b", "must be in a .gmt or .json file"),
    ],
)
def test_a_malformed_file_is_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_gene_sets([tmp_path / name])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere.gmt does not exist"):
        read_gene_sets([tmp_path / "nowhere.gmt"])


def test_membership_follows_the_symbols(tmp_path):
    path = tmp_path / "mine.gmt"
    path.write_text("first\td\tB\tZ\nsecond\td\tA\tB\n")
    members = read_gene_sets([path]).membership(np.array(["A", "B", "", "B"]))
    np.testing.assert_array_equal(members.toarray(), [[0, 1, 0, 1], [1, 1, 0, 1]])


def test_the_packaged_sets_are_whole():
    sets = packaged_gene_sets()
    counts = {source: sets.sources.count(source) for source in set(sets.sources)}
    assert counts == {"hallmark": 50, "go_cellular_component": 1042, "go_molecular_function": 1855}
    hypoxia = sets.genes[sets.names.index("HALLMARK_HYPOXIA")]
    assert len(hypoxia) == 200 and {"VEGFA", "SLC2A1", "PGK1"} <= hypoxia


EXAMPLES = {
    "ribosomal": ["RPL3", "RPS27A", "RPL10A", "RPS4X", "RPS4Y1", "RPLP0", "RPSA", "RPL36AL"],
    "mitochondrial": ["MT-CO1", "MT-ND4L"],
    "HLA": ["HLA-A", "HLA-DRB1", "B2M"],
    "T-cell receptor": ["TRAC", "TRBC2", "TRAV12-1", "TRBV20-1", "TRDV2", "TRGC1", "TRAJ33", "TRBV7-9", "TRAV29DV5"],
    "immunoglobulin": ["IGHM", "IGKC", "IGHG1", "IGLC2", "IGHV3-23", "IGKV1D-39", "JCHAIN", "IGHA2", "IGHV1OR15-1"],
    "histone": ["H1-4", "H2AC6", "H2BC12", "H3-3B", "H4C3", "HIST1H4C", "H3C2", "H2AZ1", "H2AX", "H1-10"],
    "metallothionein": ["MT1X", "MT2A", "MT1E", "MT3"],
    "heat shock": ["HSPA1A", "HSP90AA1", "DNAJB1", "HSPB1", "HSPE1", "HSPD1", "HSPH1"],
}
NEVER = [
    "TRAF2",
    "TRADD",
    "TRAM1",
    "MTOR",
    "MTHFD2",
    "RPS6KA1",
    "RPL",
    "IGF1",
    "IGHMBP2",
    "IGLON5",
    "TRDMT1",
    "TRAPPC1",
]
NEVER += [
    "TRAPPC1",
    "TRABD",
    "MT1HL",
    "HSPG2",
    "H6PD",
    "RPN1",
    "RPLP0P6X",
    "MTA1",
    "MTF1",
    "HIF1A",
    "TRAV1-AS1",
    "TRBP",
]


@pytest.mark.parametrize("family", EXAMPLES)
def test_a_family_holds_its_genes_and_no_others(family):
    symbols = np.array([gene for genes in EXAMPLES.values() for gene in genes] + NEVER)
    found = set(symbols[family_members(symbols, {})[family]])
    assert found == set(EXAMPLES[family])


def test_shares_are_of_the_summed_activation():
    symbols = np.array(["RPL3", "MT-CO1", "CD19", "MS4A1"])
    total = sparse.csr_matrix(np.array([[3.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]))
    scores = gene_family_scores(total, np.array([10, 10, 10, 10]), symbols, {"B cell": ["CD19", "MS4A1"]})
    np.testing.assert_allclose(scores.loc[0, ["ribosomal", "mitochondrial", "B cell"]].astype(float), [0.75, 0.25, 0.0])
    assert scores.loc[0, "family"] == "ribosomal"
    assert scores.loc[0, "excess"] == 0.5  # 0.75 of the activation, 0.25 of the tokens
    assert scores.loc[1].isna().all()
    assert scores.loc[2, "family"] is None and np.isnan(scores.loc[2, "excess"])
