"""Compiled CPU kernels of the networks: LIF, Winograd convolution, threads."""
