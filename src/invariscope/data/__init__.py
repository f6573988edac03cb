"""Read samples from any supported form of data, in the order in which they are measured."""
