"""Readers of the files in which data sets are published: IDX, and both layouts of CIFAR-10."""
