"""Figures for notebooks and papers, in scanpy's manner: ``ax=``, ``show=``, ``save=``, and an Axes comes back.

Each function draws one artefact of a run: the feature table (features.h5ad) or a table that analyze or
train wrote. The report draws the same figures.
"""

from .cells import activation, feature_map
from .comparison import comparison, comparison_curves
from .controls import controls
from .geometry import decoder_map
from .integration import integration
from .scores import classes, density, markers, top_genes
from .steering import perturbation, steering
from .sweep import sweep
from .training import training

__all__ = [
    "activation",
    "classes",
    "comparison",
    "comparison_curves",
    "controls",
    "decoder_map",
    "density",
    "feature_map",
    "integration",
    "markers",
    "perturbation",
    "steering",
    "sweep",
    "top_genes",
    "training",
]
