"""Group tables of products whose parts act along different axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations

import numpy as np

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.traits import Axis

_IMAGE_AXES = (2, 3)  # of (n, C, H, W)


def product_table(parts: Sequence[Transform]) -> np.ndarray | None:
    """Return the table of all combinations, with the last part's element varying fastest; None if unknown.

    The table is known if every part is a finite group and no two parts act along the same axis, so that the
    parts commute and the product is direct.
    """
    apart = all(_apart(a.traits.acts_on, b.traits.acts_on) for a, b in combinations(parts, 2))
    tables = [part.table() for part in parts] if apart else []
    known = [table for table in tables if table is not None]
    return reduce(_direct, known) if known and len(known) == len(parts) else None


def _direct(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = len(a) * len(b)
    return (a[:, None, :, None] * len(b) + b[None, :, None, :]).reshape(size, size)


def _apart(a: Axis | str | None, b: Axis | str | None) -> bool:
    """Return whether two transforms act along different axes for data with any number of axes."""
    if isinstance(b, str):
        a, b = b, a
    if not isinstance(b, Axis) or a is None:
        return False
    if isinstance(a, str):
        return b.position % 4 not in _IMAGE_AXES
    if (a.position < 0) == (b.position < 0):
        return a.position != b.position
    lengths = [axis.entries for axis in (a, b) if axis.entries is not None and not axis.multiples]
    return bool(lengths) and not all(axis.fits(length) for length in lengths for axis in (a, b))
