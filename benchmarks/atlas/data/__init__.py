"""Data sets of the atlas, from packages of Debian and of the package index."""
