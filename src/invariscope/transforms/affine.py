"""Affine maps given by their matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invariscope.common.draws import Draws
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.machinery.affine import SampledTransform
from invariscope.transforms.machinery.checks import numbers
from invariscope.transforms.machinery.matrices import determinant, invert

_NAMES = ("xx", "xy", "x_px", "yx", "yy", "y_px")


@dataclass(frozen=True)
class Affine(SampledTransform):
    """Any affine maps of the image plane, one 2 × 3 matrix an element.

    .. math:: p \\mapsto A_j p + b_j

    says where the content goes: p = (x, y) in pixels from the image's centre, x to the right, y *down*; b in
    pixels of the input. [[1, 0, 3], [0, 1, 0]] moves everything 3 pixels to the right.

    Caveats: other libraries list the inverse map (where an output pixel reads), or coordinates that run
    from -1 to 1 and distort rectangles. If content goes the wrong way, invert the matrices.

    The same for every sample: no draw of affine maps is uniform. `Compose` of families that draw from a range
    (`Rotation.uniform`, `Scale.uniform`, ...) draws them part by part, and samples once.

    Args:
        matrices: [[xx, xy, x], [yx, yy, y]] for each element.
        names: a label for each element; "#0", "#1", ... by default.
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: no numbers.
        ValueError: no matrix, another shape, entries that are not finite, a matrix without an inverse,
            another number of names, an unknown option.

    >>> mirror = Affine([[[1, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, 1, 0]]])
    >>> mirror.exact, mirror.table().tolist()
    ((True, True), [[0, 1], [1, 0]])
    """

    matrices: Sequence[Sequence[Sequence[float]]]
    names: Sequence[str] | None = None

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the identity and a slanted, larger, shifted image."""
        return (
            cls([[[1, 0, 0], [0, 1, 0]], [[1.1, 0.1, 1.5], [-0.05, 0.95, -1]]], names=["as it is", "moved"]),
        )

    def inverse(self) -> Transform:
        """Return the inverse maps."""
        names = None if self.names is None else tuple(f"inverse of {name}" for name in self.names)
        return replace(self, matrices=_nested(invert(np.array(self.matrices))), names=names)

    def _traits(self) -> Traits:
        entries = np.array(self.matrices).reshape(-1, 6).T.tolist()
        labels = self.names or [f"#{k}" for k in range(len(self.matrices))]
        return self.planar_traits(labels, dict(zip(_NAMES, entries, strict=True)))

    def _checked(self) -> dict[str, Any]:
        found = _nested(_checked(self.matrices))
        if self.names is not None and len(self.names) != len(found):
            raise ValueError(f"one name per element: {len(found)} matrices, {len(self.names)} names.")
        return {"matrices": found, "names": None if self.names is None else tuple(map(str, self.names))}

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        return np.array(self.matrices)[elements]


def _checked(matrices: Any) -> np.ndarray:
    try:
        found = np.array(matrices, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            "matrices is a list of 2 × 3 matrices of numbers, [[xx, xy, x], [yx, yy, y]]."
        ) from None
    if found.ndim != 3 or found.shape[1:] != (2, 3) or not len(found):
        raise ValueError(
            f"matrices is a list of 2 × 3 matrices, one an element; got the shape {found.shape}."
        )
    numbers("matrices (flattened)", found.ravel())
    area = np.abs(determinant(found))
    if (flat := area < 1e-9 * np.abs(found[..., :2]).max(axis=(-2, -1)) ** 2).any() or (area == 0).any():
        which = int(np.argmax(flat | (area == 0)))
        raise ValueError(
            f"matrices[{which}] flattens the image (determinant {area[which]:g}): it has no inverse."
        )
    return found


def _nested(matrices: np.ndarray) -> tuple[tuple[tuple[float, ...], ...], ...]:
    return tuple(tuple(tuple(row) for row in matrix) for matrix in (matrices + 0.0).tolist())
