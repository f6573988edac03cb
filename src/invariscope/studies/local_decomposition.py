"""Local parts of a displacement field: translation, compression, shear and rotation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.cards import Described
from invariscope.common.checks import integer

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False, repr=False)
class LocalDecomposition(Described):
    """The affine part of a field on each patch, and the size of the remainder.

    Args:
        translation: mean displacement of the patch in pixels, x first.
        matrix: U_ab = ∂τ_a/∂s_b, dimensionless, with x before y along both axes.
        leftover_px: rms distance between the field and its affine part over the patch.
        centres_px: centre of each patch, x first, in pixels counted from 0.
    """

    translation: Float[np.ndarray, "*field 2 row column"]
    matrix: Float[np.ndarray, "*field 2 2 row column"]
    leftover_px: Float[np.ndarray, "*field row column"]
    centres_px: Float[np.ndarray, "2 row column"]

    @property
    def compression(self) -> Float[np.ndarray, "*field row column"]:
        """s = (U11 + U22)/2; s > 0 if content expands (τ points outwards)."""
        return (self._entry(0, 0) + self._entry(1, 1)) / 2

    @property
    def shear(self) -> Float[np.ndarray, "*field 2 row column"]:
        """(a, b) = ((U11 − U22)/2, (U12 + U21)/2)."""
        a = (self._entry(0, 0) - self._entry(1, 1)) / 2
        b = (self._entry(0, 1) + self._entry(1, 0)) / 2
        return np.stack([a, b], axis=-3)

    @property
    def rotation(self) -> Float[np.ndarray, "*field row column"]:
        """w = (U21 − U12)/2 in radians, positive from x towards y, which is clockwise on a screen."""
        return (self._entry(1, 0) - self._entry(0, 1)) / 2

    @property
    def compression_norm(self) -> Float[np.ndarray, "*field row column"]:
        """√2·|s|; the squares of the three norms add up to ‖U‖²."""
        return np.sqrt(2) * np.abs(self.compression)

    @property
    def shear_norm(self) -> Float[np.ndarray, "*field row column"]:
        """√2·√(a² + b²)."""
        return np.sqrt(2) * np.linalg.norm(self.shear, axis=-3)

    @property
    def rotation_norm(self) -> Float[np.ndarray, "*field row column"]:
        """√2·|w|."""
        return np.sqrt(2) * np.abs(self.rotation)

    def _entry(self, a: int, b: int) -> np.ndarray:
        return self.matrix[..., a, b, :, :]


def local_decomposition(
    field: Any, patch: int | tuple[int, int] = 3, *, stride: int | None = None
) -> LocalDecomposition:
    r"""Split a displacement field into translation, compression, shear and rotation, patch by patch.

    .. math:: \tau(s) \approx \bar\tau + U (s - \bar s), \quad
        U = \begin{pmatrix} s + a & b - w \\ b + w & s - a \end{pmatrix}

    The fit is by least squares over the pixels of a patch. For the maximum-entropy ensemble of N modes at
    temperature T, the mean squares of the norms of compression, shear and rotation over the image are 1 : 2 :
    1 in units of π²T·N/8.

    Caveats: on patches that are not small compared with the wavelengths of the field, U is smaller than the
    derivative at the centre; `leftover_px` shows how much of the field is not affine.

    Args:
        field: (2, H, W) or (n, 2, H, W) displacements in pixels, x first, as returned by
            `Diffeomorphism.field`; array or tensor.
        patch: side of a patch in pixels, or (height, width); at least 2.
        stride: pixels from one patch to the next; None places them side by side, 1 gives one patch per pixel.
    Raises:
        ValueError: a field of another shape or with non-finite values, or patches that do not fit.

    >>> y, x = np.mgrid[:4, :4] - 1.5
    >>> turned = local_decomposition(np.stack([-0.1 * y, 0.1 * x]), patch=4)
    >>> turned.rotation.round(3), turned.compression.round(3) + 0.0, turned.leftover_px.round(3)
    (array([[0.1]]), array([[0.]]), array([[0.]]))
    """
    values = _checked_field(field)
    size = _checked_patch(patch, values.shape[-2:])
    steps = size if stride is None else (integer("stride", stride, what="pixels"),) * 2
    windows = np.lib.stride_tricks.sliding_window_view(values, size, axis=(-2, -1))
    windows = windows[..., :: steps[0], :: steps[1], :, :]
    y, x = (np.arange(n) - (n - 1) / 2 for n in size)
    mean = windows.mean(axis=(-2, -1))
    along, across = (_slope(windows, x, -1), _slope(windows, y, -2))
    fitted = along[..., None, None] * x + across[..., None, None] * y[:, None] + mean[..., None, None]
    leftover = np.sqrt(np.square(windows - fitted).mean(axis=(-2, -1)).sum(axis=-3))
    matrix = np.stack([along, across], axis=-3)
    return LocalDecomposition(mean, matrix, leftover, _centres(size, steps, mean.shape[-2:]))


def _slope(windows: np.ndarray, offsets: np.ndarray, axis: int) -> np.ndarray:
    """Return the least-squares slope along one axis of each window; centred offsets are orthogonal."""
    profile = windows.mean(axis=-2 if axis == -1 else -1)
    return profile @ (offsets / np.square(offsets).sum())


def _centres(size: tuple[int, int], steps: tuple[int, int], count: tuple[int, ...]) -> np.ndarray:
    y, x = ((n - 1) / 2 + step * np.arange(k) for n, step, k in zip(size, steps, count, strict=True))
    return np.stack(np.broadcast_arrays(x[None, :], y[:, None]))


def _checked_field(field: Any) -> np.ndarray:
    array = field.detach().cpu() if hasattr(field, "detach") else field
    values = np.asarray(array, dtype=np.float64)
    if values.ndim not in (3, 4) or values.shape[-3] != 2:
        raise ValueError(
            f"a displacement field must be (2, H, W) or (n, 2, H, W), x first; got shape {values.shape}. "
            "Flatten samples and elements into one axis."
        )
    if not np.isfinite(values).all():
        raise ValueError("the field has NaN or infinite values")
    return values


def _checked_patch(patch: int | tuple[int, int], size: tuple[int, ...]) -> tuple[int, int]:
    height, width = (patch, patch) if isinstance(patch, int | np.integer) else patch
    if min(height, width) < 2 or height > size[0] or width > size[1]:
        raise ValueError(
            f"a patch must have at least 2 × 2 pixels and fit in the field of {size[0]} × {size[1]}; got "
            f"{height} × {width}"
        )
    return int(height), int(width)
