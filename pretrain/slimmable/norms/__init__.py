"""Batch norm of a slimmable network: which statistics it uses, part by part of a batch, and its kernels on GPUs."""
