import gzip

import numpy as np
import pytest

from biosae.analysis.genes.gene_sets import packaged_gene_sets, read_gene_sets
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
