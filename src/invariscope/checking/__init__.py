"""Checks for test suites: assertions about symmetry, and limits on a model's values."""
