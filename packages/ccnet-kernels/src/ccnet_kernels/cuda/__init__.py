"""The kernels and their launches. Importing a module of this folder imports Numba, but starts no CUDA driver."""
