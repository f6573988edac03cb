"""The campaign: the cells of all recipes, run in the order of their worth, for the committed archive.

`python -m invariscope.lab.campaign` runs it; `docs` and `--help` say how.
"""
