"""Affine maps of the image plane as 2 × 3 matrices, in pixels about the image's centre.

Coordinates are (x, y): x to the right, y down, the origin in the middle of the image. A matrix moves content
from p to A p + t. All functions work on stacks (..., 2, 3) in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_TOLERANCE = 1e-9  # matrix entries closer than this to whole pixels differ only by rounding
_Entry = np.ndarray | float


def linear(a: _Entry, b: _Entry, c: _Entry, d: _Entry) -> np.ndarray:
    """Return the maps [[a, b], [c, d]] without a shift, for each entry of the arrays."""
    rows = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (a, b, 0, c, d, 0)))
    return np.stack(rows, axis=-1).reshape(*rows[0].shape, 2, 3)


def shifted(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return translations: dx to the right, dy down."""
    matrices = linear(np.ones_like(dx, dtype=float), 0, 0, 1)
    matrices[..., 0, 2], matrices[..., 1, 2] = dx, dy
    return matrices


def rotated(degrees: np.ndarray) -> np.ndarray:
    """Return rotations, counter-clockwise as seen in the image; quarter turns have no rounding error."""
    quarters = np.round(degrees / 90.0)
    rest = np.deg2rad(degrees - 90.0 * quarters)
    turn = quarters.astype(np.int64) % 4
    cos = np.choose(turn, [np.cos(rest), -np.sin(rest), -np.cos(rest), np.sin(rest)])
    sin = np.choose(turn, [np.sin(rest), np.cos(rest), -np.sin(rest), -np.cos(rest)])
    return linear(cos, sin, -sin, cos)  # the row axis points down: this is counter-clockwise


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the map that applies `first`, then `second`."""
    turn, shift = second[..., :2], second[..., 2:]
    return np.concatenate([turn @ first[..., :2], turn @ first[..., 2:] + shift], axis=-1)


def invert(matrices: np.ndarray) -> np.ndarray:
    """Return the inverse maps."""
    a, b, c, d = (matrices[..., i, j] for i in (0, 1) for j in (0, 1))
    turn = linear(d, -b, -c, a) / determinant(matrices)[..., None, None]
    turn[..., 2:] = -turn[..., :2] @ matrices[..., 2:]
    return turn


def determinant(matrices: np.ndarray) -> np.ndarray:
    """Return the factor by which each map multiplies areas, negative for reflections."""
    return matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]


def resized(matrices: np.ndarray, size: tuple[int, int], input_size: tuple[int, int]) -> np.ndarray:
    """Convert maps from input pixels to pixels of a feature map of this size (H, W)."""
    ratio = np.array([size[1] / input_size[1], size[0] / input_size[0]])
    scaled = matrices * ratio[:, None]
    scaled[..., :2] /= ratio
    return scaled


def lands_on_pixels(matrices: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask of the maps that read only whole pixels of images (H, W)."""
    back = invert(matrices)
    centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    origin = back[..., 2] + centre - back[..., :2] @ centre
    whole = _is_whole(back[..., :2]).all(axis=(-2, -1))
    return np.asarray(whole & _is_whole(origin).all(axis=-1))


def exact_elements(matrices: np.ndarray) -> np.ndarray:
    """Return a mask of the maps that need no interpolation on square images of odd and even size."""
    return lands_on_pixels(matrices, (3, 3)) & lands_on_pixels(matrices, (4, 4))


def is_identity(matrices: np.ndarray) -> np.ndarray:
    """Return a mask of the maps that are the identity."""
    return np.asarray((np.abs(matrices - np.eye(2, 3)) < _TOLERANCE).all(axis=(-2, -1)))


def group_table(
    elements: np.ndarray,
    product: Callable[[np.ndarray, np.ndarray], np.ndarray],
    tolerance: float = _TOLERANCE,
) -> np.ndarray | None:
    """Return the table of a finite group; None if the elements do not form one or are not distinct.

    Args:
        elements: (m, ...) matrices or maps.
        product: multiplies one element, applied second, with each of (m, ...) elements.
        tolerance: entries that differ by less are equal.
    """
    from scipy.spatial import KDTree

    m, rows = len(elements), []
    tree = KDTree(elements.reshape(m, -1))
    for element in elements:
        products = product(element, elements).reshape(m, -1)
        near = tree.query(products, k=2, p=np.inf, distance_upper_bound=tolerance)
        distances, places = map(np.asarray, near)
        if (np.isfinite(distances) != [True, False]).any():  # not exactly one element equals the product
            return None
        rows.append(places[:, 0])
    return np.array(rows)


def _is_whole(values: np.ndarray) -> np.ndarray:
    return np.abs(values - np.round(values)) < _TOLERANCE
