"""Quarter turns and the symmetries of the square: exact on the pixel grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from invariscope.common.draws import Draws
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.affine import AffineTransform
from invariscope.transforms.machinery.matrices import compose, linear, rotated

_ANGLES = (0.0, 90.0, 180.0, 270.0)


class _SquareSymmetry(AffineTransform):
    """A family without options that acts on square images."""

    square: ClassVar[bool] = True

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return the only instance."""
        return (cls(),)

    def inverse(self) -> Transform:
        """Return the inverse symmetries."""
        return Inverse(self)


@dataclass(frozen=True)
class QuarterTurns(_SquareSymmetry):
    """Rotations by 0°, 90°, 180° and 270° counter-clockwise: the group C4, bit-exact on square images.

    .. math:: t_j x = \\mathrm{rot90}^j(x)

    Values are not interpolated and do not leave the image, so any effect comes from the network.

    Caveats: invariance to quarter turns does not imply invariance to the angles in between; convolutional
    networks with symmetric filters have the first invariance, but not the second.

    Raises:
        ValueError: the images are not square.

    >>> import torch
    >>> QuarterTurns().orbit(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))[0, 1, 0]
    tensor([[2., 4.],
            [1., 3.]])
    """

    def _traits(self) -> Traits:
        return self.planar_traits([f"{angle:g}°" for angle in _ANGLES], {"angle_deg": _ANGLES})

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        return rotated(90.0 * elements)


@dataclass(frozen=True)
class Dihedral(_SquareSymmetry):
    """The eight symmetries of the square: the group D4, bit-exact on square images.

    .. math:: t_{4f + k}\\, x = \\mathrm{rot90}^k(\\mathrm{mirror}^f(x))

    Elements 0 to 3 are the counter-clockwise quarter turns; elements 4 to 7 swap left and right first, then
    turn by 0°, 90°, 180°, 270°.

    Caveats: for many classes a mirror image is a different object (letters, digits, hands), so a good
    network need not be invariant to it. Examine the rotations and the mirrored elements separately.

    Raises:
        ValueError: the images are not square.

    >>> Dihedral().labels[3:6]
    ('270°', 'mirror, 0°', 'mirror, 90°')
    """

    def _traits(self) -> Traits:
        labels = [f"{mirror}{90 * k}°" for mirror in ("", "mirror, ") for k in range(4)]
        mirrored = (0.0,) * 4 + (1.0,) * 4
        return self.planar_traits(labels, {"angle_deg": _ANGLES * 2, "mirrored": mirrored})

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        mirror = linear(np.where(elements >= 4, -1.0, 1.0), 0, 0, 1)
        return compose(rotated(90.0 * (elements % 4)), mirror)
