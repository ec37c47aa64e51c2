import numpy as np

from biosae.atlas.gene_index import GENES_PER_SHARD, GeneIndex

from .synthetic import D_SAE, GENE_FEATURE, N_GENES


def test_every_gene_once(run):
    genes = GeneIndex(run)
    assert len(genes) == N_GENES
    assert len(set(genes.identifiers)) == N_GENES


def test_tokens_and_table_speak_of_the_same_genes(run):
    genes = GeneIndex(run)
    vocabulary = run.token_codes.vocabulary
    assert [genes.names[genes.of_token[t]] for t in vocabulary["token"]] == vocabulary["name"].tolist()


def test_top_genes_are_those_with_the_largest_share(run):
    genes = GeneIndex(run)
    top = genes.top(D_SAE, 3)
    rows = run.genes[run.genes["feature"] == 0].nlargest(3, "share")
    assert [genes.identifiers[g] for g in top[0]] == rows["identifier"].tolist()
    assert [genes.names[g] for g in top[GENE_FEATURE] if g >= 0] == ["GENE70"]


def test_gene_shard_names_the_features_that_fire_on_it(run):
    genes = GeneIndex(run)
    (name, shard), *rest = genes.shards()
    assert name == "genes-0"
    assert not rest and N_GENES <= GENES_PER_SHARD
    gene = genes.names.index("GENE70")
    owned = slice(*shard["offsets"].values[gene : gene + 2])
    features, specificity = shard["feature"].values[owned], shard["specificity"].values[owned]
    assert features[0] == GENE_FEATURE  # the only one that fires on every one of its tokens
    assert specificity[0] == 1
    assert np.all(np.diff(specificity) <= 0)
    assert set(features) == set(run.genes.loc[run.genes["gene"] == "GENE70", "feature"])
