"""Size checks before compiled loops, which could otherwise read beyond the end of an array."""

from __future__ import annotations

from typing import Any

import numpy as np


def refuse_sizes(**sizes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Raise ValueError unless the two shapes under each name, actual and expected, are equal.

    >>> refuse_sizes(rows=((12, 4), (12, 4)), sums=((8, 40), (8, 4)))
    Traceback (most recent call last):
    ...
    ValueError: sizes do not match: sums (8, 40) instead of (8, 4)
    """
    for name, (found, wanted) in sizes.items():
        if tuple(found) != tuple(wanted):
            shown = " instead of ".join(str(tuple(map(int, size))) for size in (found, wanted))
            raise ValueError(f"sizes do not match: {name} {shown}")


def refuse_places(**places: tuple[Any, int]) -> None:
    """Raise ValueError unless, under each name, all indices (an integer or array) are in range(length).

    >>> refuse_places(bucket=(3, 2))
    Traceback (most recent call last):
    ...
    ValueError: sizes do not match: bucket 3 of 2
    """
    for name, (found, length) in places.items():
        for place in _ends(found):
            if not 0 <= place < length:
                raise ValueError(f"sizes do not match: {name} {place} of {length}")


def _ends(places: Any) -> tuple[int, ...]:
    """Return the smallest and largest index; NumPy's functions would be slow on a plain integer."""
    if isinstance(places, int):
        return (places,)
    array = np.asarray(places)
    return (int(array.min()), int(array.max())) if array.size else ()
