"""Group tables of products whose parts do not meet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import combinations

import numpy as np

from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.affine import _Affine
from invariscope.transforms.machinery.places import _Places
from invariscope.transforms.machinery.vectors import _Vectors

_IMAGE_AXES = (2, 3)  # of (n, C, H, W)


def product_table(parts: Sequence[Transform]) -> np.ndarray | None:
    """The table of all combinations, the last part's element running fastest; None where it is not known.

    It is known where every part is a finite group, and no two of them move the same axes: then it does not
    matter which is applied first, and the product is the direct one.
    """
    tables = [part.table() for part in parts]
    known = [table for table in tables if table is not None]
    if len(known) < len(tables) or not all(_apart(a, b) for a, b in combinations(parts, 2)):
        return None
    return reduce(_direct, known)


def _direct(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = len(a) * len(b)
    return (a[:, None, :, None] * len(b) + b[None, :, None, :]).reshape(size, size)


def _apart(a: Transform, b: Transform) -> bool:
    """Whether the two certainly move different axes of the data, however many axes those have."""
    if _moves_pixels(b):
        a, b = b, a
    if _moves_pixels(a):
        return isinstance(b, _Places | _Vectors) and b.along % 4 not in _IMAGE_AXES
    if not isinstance(a, _Places | _Vectors) or not isinstance(b, _Places | _Vectors):
        return False
    if (a.along < 0) == (b.along < 0):
        return a.along != b.along
    return not _fit_one_axis(a, b)


def _moves_pixels(part: Transform) -> bool:
    """Along the rows and columns of images, and along nothing else."""
    from invariscope.transforms.periodic_translation import PeriodicTranslation

    return isinstance(part, _Affine | PeriodicTranslation)


def _fit_one_axis(a: _Places | _Vectors, b: _Places | _Vectors) -> bool:
    """Whether an axis can be as long as both want it."""
    lengths = [part.entries for part in (a, b) if isinstance(part, _Places)]
    if not lengths:
        return True
    return all(
        length == part.entries if isinstance(part, _Places) else length % part.entries == 0
        for length in lengths
        for part in (a, b)
    )
