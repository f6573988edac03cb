"""Analyses of weights that the recipes need; `invariscope.weights` offers them under its own name."""
