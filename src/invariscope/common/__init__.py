"""Helpers for all parts of the library: names, draws, checks, files, wording."""
