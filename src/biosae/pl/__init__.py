"""Figures for notebooks and papers, in scanpy's manner: ``ax=``, ``show=``, ``save=``, and an Axes comes back.

Each function draws one artefact of a run: the feature table (features.h5ad) or a table of a later stage. It draws on
``ax``, or on new axes (inches) without one; figures of several panels take no ``ax`` and return a Figure. ``save`` is
a path, whose suffix decides the format. The report draws the same figures.
"""

from .all_features import controls, decoder_map, density, markers, stability
from .interventions import integration, perturbation, steering
from .one_feature import (
    activation,
    classes,
    enrichment,
    expression,
    feature,
    feature_map,
    histogram,
    neighbours,
    precision_recall,
    residues,
    top_genes,
)
from .sequence_logo import sequence_logo
from .training_runs import comparison, comparison_curves, feature_history, sweep, training

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
    "feature",
    "feature_history",
    "feature_map",
    "histogram",
    "integration",
    "markers",
    "neighbours",
    "perturbation",
    "precision_recall",
    "residues",
    "sequence_logo",
    "stability",
    "steering",
    "sweep",
    "top_genes",
    "training",
]
