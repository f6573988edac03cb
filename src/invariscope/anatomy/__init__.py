"""Anatomy of a model: positions and receptive fields of its units, and derivatives through its layers."""
