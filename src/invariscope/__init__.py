"""Invariscope."""
