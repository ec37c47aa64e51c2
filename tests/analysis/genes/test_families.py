import numpy as np
import pytest
from scipy import sparse

from biosae.analysis.genes.families import family_members, family_scores

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
    scores = family_scores(total, np.array([10, 10, 10, 10]), symbols, {"B cell": ["CD19", "MS4A1"]})
    np.testing.assert_allclose(scores.loc[0, ["ribosomal", "mitochondrial", "B cell"]].astype(float), [0.75, 0.25, 0.0])
    assert scores.loc[0, "family"] == "ribosomal"
    assert scores.loc[0, "excess"] == 0.5  # 0.75 of the activation, 0.25 of the tokens
    assert scores.loc[1].isna().all()
    assert scores.loc[2, "family"] is None and np.isnan(scores.loc[2, "excess"])
