"""Criss-cross attention as CUDA kernels, with gradients and without a stored attention map."""

from ccnet_kernels.errors import KernelError
from ccnet_kernels.ops import criss_cross_attention

__all__ = ["KernelError", "criss_cross_attention"]
