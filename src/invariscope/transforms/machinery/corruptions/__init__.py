"""Formulas of the common corruptions of ImageNet-C and CIFAR-10-C, for one image at a time."""
