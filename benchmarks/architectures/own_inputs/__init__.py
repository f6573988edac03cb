"""The same architectures with their own inputs: padded texts, mappings, recordings, graphs, molecules."""
