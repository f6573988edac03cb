"""Numbers of one version, kept so that the next can be compared with them.

    python -m tests.golden.record FOLDER          # every case, or those that match --only
    python -m tests.golden.compare BEFORE AFTER   # the largest deviation per case; fails above 1e-12

`expected/` holds the numbers that the test compares with, up to what machines differ by. A change of
numbers that is meant is recorded again with `python -m tests.golden.record tests/golden/expected --only CASE`
and stands in CHANGELOG.md. Only `reach.py` imports from inside the package.
"""
