"""Labelled results of measurements: rows, maps and curves, with functions to save, load and compare them."""
