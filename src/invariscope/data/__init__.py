"""Samples in the order of the walk, from any supported form of data."""
