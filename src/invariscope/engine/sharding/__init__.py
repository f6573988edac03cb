"""Divide a measurement among processes, and merge their shares."""
