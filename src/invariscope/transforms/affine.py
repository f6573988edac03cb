"""Affine maps given by their matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invariscope.common.checks import bounded, float_array
from invariscope.common.draws import Draws
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.machinery.affine import SampledTransform
from invariscope.transforms.machinery.checks import nested, numbers, one_per_element
from invariscope.transforms.machinery.matrices import determinant, invert

_NAMES = ("xx", "xy", "x_px", "yx", "yy", "y_px")


@dataclass(frozen=True)
class Affine(SampledTransform):
    """Affine maps of the image plane, given as one 2 × 3 matrix per element.

    .. math:: p \\mapsto A_j p + b_j

    Content at p moves to A p + b. Here p = (x, y) is in pixels from the image's centre, x to the right and y
    *down*, and b is in pixels of the input. [[1, 0, 3], [0, 1, 0]] moves everything 3 pixels to the right.

    Elements are the same for every sample, since there is no uniform distribution over affine maps. For
    random maps, `Compose` families that draw from a range (`Rotation.uniform`, `Scale.uniform`, ...): the
    drawn parts are multiplied and applied in a single interpolation.

    Caveats: some libraries use the inverse map, from an output pixel to the input pixel that it reads, or
    coordinates from -1 to 1, which distort rectangles. If content moves the wrong way, invert the matrices.

    Args:
        matrices: [[xx, xy, x], [yx, yy, y]] for each element.
        names: one label per element; "#0", "#1", ... by default.
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: the entries are not numbers.
        ValueError: no matrices, a wrong shape, non-finite entries, a matrix without an inverse, a wrong
            number of names, an unknown option.

    >>> mirror = Affine([[[1, 0, 0], [0, 1, 0]], [[-1, 0, 0], [0, 1, 0]]])
    >>> mirror.exact, mirror.table().tolist()
    ((True, True), [[0, 1], [1, 0]])
    """

    matrices: Sequence[Sequence[Sequence[float]]]
    names: Sequence[str] | None = None

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the identity and a shear with magnification and shift."""
        return (
            cls([[[1, 0, 0], [0, 1, 0]], [[1.1, 0.1, 1.5], [-0.05, 0.95, -1]]], names=["as it is", "moved"]),
        )

    def inverse(self) -> Transform:
        """Return the inverse maps."""
        names = None if self.names is None else tuple(f"inverse of {name}" for name in self.names)
        return replace(self, matrices=nested(invert(np.array(self.matrices)) + 0.0), names=names)

    def _traits(self) -> Traits:
        entries = np.array(self.matrices).reshape(-1, 6).T.tolist()
        labels = self.names or [f"#{k}" for k in range(len(self.matrices))]
        return self.planar_traits(labels, dict(zip(_NAMES, entries, strict=True)), added_by=("matrices",))

    def _checked(self) -> dict[str, Any]:
        matrices = nested(_checked(self.matrices) + 0.0)
        names = None if self.names is None else one_per_element("names", self.names, len(matrices))
        return {"matrices": matrices, "names": names and tuple(map(str, names))}

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        return np.array(self.matrices)[elements]


def _checked(matrices: Any) -> np.ndarray:
    listed = bounded("matrices", matrices) if isinstance(matrices, Iterable) else matrices
    found = float_array("matrices", listed, "a list of 2 × 3 matrices, [[xx, xy, x], [yx, yy, y]],")
    if found.ndim != 3 or found.shape[1:] != (2, 3) or not len(found):
        raise ValueError(
            f"matrices must be a list of 2 × 3 matrices, one per element; got shape {found.shape}."
        )
    numbers("matrices (flattened)", found.ravel())
    area = np.abs(determinant(found))
    if (flat := area < 1e-9 * np.abs(found[..., :2]).max(axis=(-2, -1)) ** 2).any() or (area == 0).any():
        which = int(np.argmax(flat | (area == 0)))
        raise ValueError(
            f"matrices[{which}] flattens the image (determinant {area[which]:g}) and has no inverse: give an "
            "invertible matrix."
        )
    return found
