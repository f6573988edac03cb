"""Figures of the reproduced papers; `invariscope.plots` lists and draws those that are made of results."""
