"""Weight sparsification: trains a network while more and more of its weights become zero."""

from pocketkube.sparsity.gradual import GradualSparsification, KeptZeros

__all__ = ["GradualSparsification", "KeptZeros"]
