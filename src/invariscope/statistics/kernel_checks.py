"""Checks of sizes before a compiled loop, which would otherwise read beyond the end of an array."""

from __future__ import annotations

import numpy as np


def refuse_unless(fits: bool, what: str, found: tuple, beside: str, other: tuple) -> None:
    """Raise ValueError with both shapes unless they fit.

    >>> refuse_unless(False, "units", (12, 4), "sums", (8, 40))
    Traceback (most recent call last):
    ...
    ValueError: sizes do not fit together: units (12, 4), sums (8, 40)
    """
    if not fits:
        raise ValueError(
            f"sizes do not fit together: {what} {tuple(map(int, found))}, {beside} {tuple(map(int, other))}"
        )


def refuse_rows(places: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless all places are rows of an array of this shape."""
    if places.size:
        refuse_unless(int(places.min()) >= 0, "row", (int(places.min()),), "rows", shape)
        refuse_unless(int(places.max()) < shape[0], "row", (int(places.max()),), "rows", shape)
