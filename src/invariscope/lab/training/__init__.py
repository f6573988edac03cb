"""Trainings and data that the recipes need: self-supervision, scale detection, constant filters.

`invariscope.zoo` offers them under its own name.
"""
