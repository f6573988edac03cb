"""Sums of responses along orbits and across samples."""
