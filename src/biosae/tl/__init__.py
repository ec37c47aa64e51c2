"""Tools in scanpy's manner: AnnData in, AnnData out."""

from biosae.notebook.encoding import activations, encode
from biosae.notebook.scoring import explain, score, score_genes, score_labels
from biosae.notebook.steering import steer

__all__ = ["activations", "encode", "explain", "score", "score_genes", "score_labels", "steer"]
