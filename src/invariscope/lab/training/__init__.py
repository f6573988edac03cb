"""Training methods and data for the recipes: self-supervision, scale detection, constant filters.

They are also available from `invariscope.zoo`.
"""
