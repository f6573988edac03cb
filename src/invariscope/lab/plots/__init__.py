"""Figures of the reproduced papers; `invariscope.plots` lists and draws those made from results."""
