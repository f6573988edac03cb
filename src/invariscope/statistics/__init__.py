"""Mergeable accumulators over blocks of whole orbits. They know arrays and know no model."""
