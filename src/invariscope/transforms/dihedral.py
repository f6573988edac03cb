"""Quarter turns and mirror images: exact on the pixel grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from invariscope.common.draws import Draws
from invariscope.transforms.base import Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.affine import _Exact
from invariscope.transforms.machinery.matrices import compose, linear, rotated


@dataclass(frozen=True)
class Dihedral(_Exact):
    """The eight symmetries of the square, the group D4, bit-exact on square images.

    .. math:: t_{4f + k}\\, x = \\mathrm{rot90}^k(\\mathrm{mirror}^f(x))

    Elements 0 to 3 are the quarter turns counter-clockwise; elements 4 to 7 mirror left and right first, then
    turn by 0°, 90°, 180°, 270°.

    Misleads: for many classes a mirror image is another thing (letters, digits, hands), and a good network
    has no reason to be invariant to it. Look at the two halves apart.

    Raises:
        ValueError: images that are not square.

    >>> Dihedral().labels[3:6]
    ('270°', 'mirror, 0°', 'mirror, 90°')
    """

    square: ClassVar[bool] = True

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """The only one there is."""
        return (cls(),)

    @property
    def labels(self) -> tuple[str, ...]:
        """The angles, with "mirror" before those of the mirrored image."""
        return tuple(f"{mirror}{90 * k}°" for mirror in ("", "mirror, ") for k in range(4))

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The angles, `angle_deg`, and whether the image was mirrored before, `mirrored`: 0 or 1."""
        return {"angle_deg": (0.0, 90.0, 180.0, 270.0) * 2, "mirrored": (0.0,) * 4 + (1.0,) * 4}

    def inverse(self) -> Transform:
        """The same turns clockwise, after which the mirror is undone."""
        return Inverse(self)

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        mirror = linear(np.where(elements >= 4, -1.0, 1.0), np.array(0), np.array(0), np.array(1))
        return compose(rotated(90.0 * (elements % 4)), mirror)
