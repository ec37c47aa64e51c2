"""Figures for notebooks and papers, in scanpy's manner: ``ax=``, ``show=``, ``save=``, and an Axes comes back.

Each function draws one artefact of a run: the feature table (features.h5ad) or a table that analyze or
train wrote. The report draws the same figures.
"""

from .cells import activation, feature_map, precision_recall
from .comparison import comparison, comparison_curves
from .controls import controls
from .geometry import decoder_map, neighbours, stability
from .integration import integration
from .scores import classes, density, enrichment, markers, top_genes
from .steering import perturbation, steering
from .sweep import sweep
from .tokens import expression, histogram, residues
from .training import training

__all__ = [
    "activation",
    "classes",
    "comparison",
    "comparison_curves",
    "controls",
    "decoder_map",
    "density",
    "enrichment",
    "expression",
    "feature_map",
    "histogram",
    "integration",
    "markers",
    "neighbours",
    "perturbation",
    "precision_recall",
    "residues",
    "stability",
    "steering",
    "sweep",
    "top_genes",
    "training",
]
