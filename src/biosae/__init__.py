"""Sparse autoencoders that read the biology out of foundation models of cells and proteins."""
