"""Positions and receptive fields of a model's units, and derivatives through its layers."""
