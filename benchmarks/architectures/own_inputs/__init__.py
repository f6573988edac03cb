"""Sweep over the same architectures with their own inputs: padded texts, recordings, graphs, molecules."""
