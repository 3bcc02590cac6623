"""The kernels and their launches. Nothing here starts a CUDA driver; only the rooms of a kernel import Numba."""
