"""Reproductions of published experiments, and the campaign that runs them for the committed archive.

`python -m invariscope.lab.campaign --help` describes how to run it.
"""
