"""Triton kernels of the networks on a GPU: batch norm and LIF as one pass each way."""
