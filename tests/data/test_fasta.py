import gzip

import pytest

from biosae.data.fasta import read_fasta
from biosae.errors import DataError, SettingError


def test_names_are_first_words_or_uniprot_accessions_and_lines_are_joined(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text(">sp|P12345|AATM_RABIT Aspartate\nMAL\nLHS\n>plain name\nACDE*\n>tr|A0A|X\nmk\n")
    proteins = read_fasta(path)
    assert proteins.ids == ["P12345", "plain", "A0A"]
    assert proteins.sequences == ["MALLHS", "ACDE", "mk"]
    assert proteins.chosen([2, 0]).ids == ["A0A", "P12345"]


def test_compressed_files_are_read(tmp_path):
    path = tmp_path / "a.fa.gz"
    path.write_bytes(gzip.compress(b">a\r\nMK\r\n"))
    assert read_fasta(path).sequences == ["MK"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a FASTA file"),
        ("MKV\n", "must begin with '>', got 'MKV"),
        (">a\nMK\n>a\nMV\n", "1 protein ids occur more than once, for example a"),
        (">a\n>b\nMK\n", "the protein a has no sequence"),
        (">a\nMK1V\n", "the protein a has the characters 'MK1V'"),
        ("> \nMK\n", "a header without a name"),
    ],
)
def test_what_is_no_fasta_is_refused_by_name(tmp_path, text, says):
    (tmp_path / "a.fasta").write_text(text)
    with pytest.raises(DataError, match=says):
        read_fasta(tmp_path / "a.fasta")


def test_missing_and_damaged_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_fasta(tmp_path / "absent.fasta")
    (tmp_path / "a.gz").write_bytes(gzip.compress(b">a\nMK\n")[:12])
    with pytest.raises(DataError, match="cannot be read as FASTA"):
        read_fasta(tmp_path / "a.gz")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_files_of_windows_and_old_macs_load(tmp_path, end, mark):
    path = tmp_path / "a.fasta"
    path.write_bytes(mark + end.join([b">P1 first", b"MKV", b"LLA", b">P2", b"MAA", b""]))
    proteins = read_fasta(path)
    assert (proteins.ids, proteins.sequences) == (["P1", "P2"], ["MKVLLA", "MAA"])


def test_a_damaged_gzip_body_is_one_error(tmp_path):
    content = bytearray(gzip.compress(b">P1\n" + b"MKVLA" * 200))
    content[14:20] = bytes(6)
    (tmp_path / "a.fasta.gz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as FASTA"):
        read_fasta(tmp_path / "a.fasta.gz")


def test_gaps_are_refused_or_removed_by_choice(tmp_path, caplog):
    path = tmp_path / "a.fasta"
    path.write_text(">a\nMK--VL.\n>b\nMKV\n")
    with pytest.raises(DataError, match=r"1 of 2 sequences have gaps \(- or \.\), for example a; .*gaps=remove"):
        read_fasta(path)
    with caplog.at_level("INFO"):
        assert read_fasta(path, gaps="remove").sequences == ["MKVL", "MKV"]
    assert "3 gaps of 1 sequences are removed" in caplog.text
    with pytest.raises(SettingError, match="gaps must be refuse or remove, got keep"):
        read_fasta(path, gaps="keep")
    path.write_text(">a\n---\n")
    with pytest.raises(DataError, match="has no sequence"):
        read_fasta(path, gaps="remove")


def test_dna_is_recognised_and_refused(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text(f">a\nMKVLLA\n>b\n{'ACGTn' * 10}\n")
    with pytest.raises(DataError, match="1 of 2 sequences are DNA or RNA, for example b; .*translate"):
        read_fasta(path)
    path.write_text("".join(f">r{n}\nACGUACGUACGU\n" for n in range(5)))  # reads, each too short to tell
    with pytest.raises(DataError, match="5 of 5 sequences are DNA or RNA"):
        read_fasta(path)
    path.write_text(">a\nGATCA\n>b\nMKV\n")  # a peptide may consist of these letters
    assert read_fasta(path).sequences == ["GATCA", "MKV"]


def test_lower_case_is_said(tmp_path, caplog):
    (tmp_path / "a.fasta").write_text(">a\nMKvlla\n>b\nMKV\n")
    with caplog.at_level("INFO"):
        read_fasta(tmp_path / "a.fasta")
    assert "4 residues of 1 proteins are in lower case" in caplog.text
