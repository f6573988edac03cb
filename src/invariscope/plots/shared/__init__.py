"""Shared parts of the plots: the protocol, colours, labels and the two drawing back ends."""
