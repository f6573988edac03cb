"""Statistics that keep a few numbers per sample, or the responses of a few samples."""
