"""Mergeable accumulators over blocks of whole orbits. They see arrays, not models."""
