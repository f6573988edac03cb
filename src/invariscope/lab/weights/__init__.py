"""Analyses of weights for the recipes, also available from `invariscope.weights`."""
