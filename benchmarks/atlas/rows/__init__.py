"""Entries of the atlas: one file per model, named on the command line."""
