import pytest

from biosae.data.clusters import read_clusters
from biosae.errors import DataError

IDS = ["a", "b", "c", "d"]


def write(tmp_path, *rows):
    path = tmp_path / "clusters.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows))
    return path


def test_id_and_cluster(tmp_path):
    path = write(tmp_path, ("d", "2"), ("a", "1"), ("b", "1"), ("c", "2"), ("other", "3"))
    assert list(read_clusters(path, IDS)) == ["1", "1", "2", "2"]


def test_mmseqs2_representative_and_member(tmp_path):
    path = write(tmp_path, ("a", "a"), ("a", "b"), ("sp|d|D_HUMAN", "d"), ("sp|d|D_HUMAN", "sp|c|C_HUMAN"))
    assert list(read_clusters(path, IDS)) == ["a", "a", "d", "d"]


def test_both_columns_unique_means_every_protein_stands_alone(tmp_path):
    path = write(tmp_path, *((name, name) for name in IDS))
    assert len(set(read_clusters(path, IDS))) == 4


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("a", "1"), ("b", "1"), ("c", "1")], "no cluster for 1 of the proteins, for example d"),
        ([("a", "1"), ("a", "2"), ("b", "1"), ("c", "1"), ("d", "1")], "puts some proteins into two clusters"),
        ([("a", "1", "x")], "must have two columns, id <tab> cluster, got 3"),
    ],
)
def test_what_does_not_cluster_every_protein_once_is_refused(tmp_path, rows, says):
    with pytest.raises(DataError, match=says):
        read_clusters(write(tmp_path, *rows), IDS)
    with pytest.raises(DataError, match="does not exist"):
        read_clusters(tmp_path / "absent.tsv", IDS)


def test_names_of_clusters_are_whole_texts(tmp_path):
    rows = [("a", "cluster 1"), ("b", "cluster 2"), ("c", "NA"), ("d", "01")]
    assert list(read_clusters(write(tmp_path, *rows), IDS)) == ["cluster 1", "cluster 2", "NA", "01"]


def test_a_protein_without_a_cluster_is_refused(tmp_path):
    with pytest.raises(DataError, match="leaves the cluster of 1 proteins empty, for example c"):
        read_clusters(write(tmp_path, ("a", "1"), ("b", "1"), ("c", ""), ("d", "2")), IDS)
