"""Variants and models of other packages, by decorator."""

from biosae.models.loaders import LOADERS
from biosae.saes.build import VARIANTS

register_variant = VARIANTS.register
register_model = LOADERS.register
