"""Batch integration of original and steered embeddings, beside methods that need no SAE."""
