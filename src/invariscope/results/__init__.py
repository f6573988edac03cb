"""Labelled results: rows, maps and curves, saved and loaded."""
