"""Transforms of the values of images: photometric changes, compression and common corruptions."""
