"""Readers for published data files: IDX, and both layouts of CIFAR-10."""
