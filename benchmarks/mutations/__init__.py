"""Damaged and hostile files, and what reading them gives: see `python -m benchmarks.mutations --help`."""
