import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from biosae.analysis.explain.naming import joined, named, top_samples

TYPES = np.array(["B"] * 8 + ["DC"] * 4 + ["T"] * 28)


def tops_of(code, n_blocks=1):
    blocks = np.array_split(np.asarray(code, np.float32)[:, None], n_blocks)
    return top_samples(map(sparse.csr_matrix, blocks))


def chosen(**columns):
    row = {"kind": "class", "key": "cell_type", "names": ("B",), "is_low": False, "fidelity": 0.6}
    row |= {"null_fidelity": 0.01, "firing_auroc": 0.9, "is_explained": True} | columns
    return pd.DataFrame([row])


def name_of(codes, analyses=None, **columns):
    obs = pd.DataFrame({"cell_type": TYPES, "donor": "d0"})
    return named(chosen(**columns), tops_of(codes)[0], obs, analyses or {}, "cell_type").iloc[0]


def strongest_in(*order):
    """Codes that are largest in the given cells."""
    code = np.full(len(TYPES), 0.1)
    code[list(order)] = 10 - np.arange(len(order))
    return code


def test_a_class_whose_cells_lead_is_the_name():
    found = name_of(strongest_in(*range(8), 20, 21))
    assert found["name"] == "B"
    assert found["sentence"] == "Fires most in B; this explains 60% of its held-out activity (shuffled codes: 1%)."


def test_a_class_whose_cells_do_not_lead_never_stands_alone():
    found = name_of(strongest_in(*range(20, 30)))
    assert found["name"] == "highest in T, also in B"
    assert found["sentence"].startswith("Fires highest in T, also in B;")


def test_a_union_agrees_with_its_top_cells_together():
    found = name_of(strongest_in(*range(10)), kind="union", names=("B", "DC"))
    assert found["name"] == "B and DC"


@pytest.mark.parametrize(
    ("columns", "name", "sentence"),
    [
        ({"kind": "gene", "names": ("CD74",)}, "CD74", "Fires where CD74 is expressed (also HLA-DRA)"),
        ({"kind": "gene", "names": ("CD74",), "is_low": True}, "low CD74", "Fires where little CD74 is expressed"),
        ({"kind": "family", "names": ("ribosomal",)}, "ribosomal genes", "Fires where ribosomal genes are expressed"),
        (
            {"kind": "set", "names": ("HALLMARK_HYPOXIA",)},
            "hypoxia",
            "Fires where hypoxia genes are expressed",
        ),
        (
            {"kind": "depth", "names": ("sequencing depth",)},
            "sequencing depth",
            "Fires where sequencing depth is large",
        ),
        ({"kind": "batch", "key": "donor", "names": ("d0",)}, "donor d0", "Fires most in donor d0"),
        ({"kind": "class and gene", "names": ("B", "CD74")}, "CD74 in B", "Fires with CD74 in B"),
    ],
)
def test_every_kind_has_words(columns, name, sentence):
    expressed = pd.DataFrame({"top_genes": ["CD74;HLA-DRA"]})
    columns = {"key": ""} | columns if columns["kind"] != "class and gene" else columns
    found = name_of(strongest_in(*range(8), 20, 21), {"expressed": expressed}, **columns)
    assert found["name"] == name
    assert found["sentence"].startswith(sentence)


def test_a_poor_explanation_is_none():
    found = name_of(strongest_in(*range(8)), is_explained=False, fidelity=0.04)
    assert found["name"] == "unexplained"
    assert found["sentence"] == (
        "Nothing that was tried explains where it fires (best guess: B, 4% of its held-out activity)."
    )


def test_what_it_reads_names_a_feature_that_is_not_explained():
    genes = pd.DataFrame({"top_genes": ["CRLS1;B2M"], "top_share": [0.8]})
    found = name_of(strongest_in(*range(8)), {"genes": genes}, is_explained=False, fidelity=0.04)
    assert found["name"] == "CRLS1" and found["sentence"].startswith("Fires on CRLS1; nothing that was tried explains")


def test_top_samples_are_those_the_page_shows_first():
    code = strongest_in(5, 3, 30)
    code[[7, 9]] = 8.5  # equal ones in the order of the rows
    for n_blocks in (1, 3):
        rows, codes = tops_of(code, n_blocks)
        assert rows[0, :5].tolist() == [5, 3, 7, 9, 30] and rows.shape == (1, 10)
        assert codes[0, :5].tolist() == [10, 9, 8.5, 8.5, 8]


def test_a_feature_that_fires_in_few_samples_has_few_top_samples():
    rows, codes = tops_of([0, 0, 2, 0, 3])
    assert rows[0].tolist() == [4, 2] + [-1] * 8 and codes[0, 2:].tolist() == [0] * 8


def test_words_are_joined_as_people_write_them():
    assert [joined(list(words)) for words in ("A", "AB", "ABC")] == ["A", "A and B", "A, B and C"]
