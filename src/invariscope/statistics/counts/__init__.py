"""Counts of responses: in bins, above thresholds, by predicted class."""
