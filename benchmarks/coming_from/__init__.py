"""Numbers of other packages and of Invariscope from one run, for the pages in docs/coming_from.

    python -m benchmarks.coming_from [tmeasures lie_deriv ...] [--write]

Each module of this folder measures the same model and data with another package (`theirs`) and with
Invariscope (`ours`). `--write` stores both in benchmarks/results/coming_from, from which the pages are built.
"""
