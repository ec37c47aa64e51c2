"""Without a GPU Triton's kernels run in its interpreter, which has to be said before it is imported."""

from __future__ import annotations

import os

import torch

os.environ.setdefault("TRITON_INTERPRET", "0" if torch.cuda.is_available() else "1")
