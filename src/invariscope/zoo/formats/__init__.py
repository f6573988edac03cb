"""Readers of the published files of data sets: IDX, and both layouts of CIFAR-10."""
