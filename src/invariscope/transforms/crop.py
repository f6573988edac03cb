"""Windows of larger images, shifted and rotated without filled corners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from invariscope.common.checks import bounded, elements, integer, shown
from invariscope.transforms.base import Motion, Traits, Transform, no_inverse
from invariscope.transforms.machinery.checks import choice, evenly, need_images, numbers, positive
from invariscope.transforms.machinery.each_element import by_element, widened
from invariscope.transforms.machinery.matrices import compose, invert, rotated, shifted
from invariscope.transforms.machinery.photometric import refuse_maps
from invariscope.transforms.machinery.sampling import INTERPOLATIONS
from invariscope.transforms.machinery.traits import Inputs

_LARGEST = 100_000  # pixels
_WHOLE = 1e-9  # positions closer than this to whole pixels differ from them only by rounding
_MARGINS = {"nearest": 0, "bilinear": 0, "bicubic": 1}  # pixels that interpolation reads beyond a position


@dataclass(frozen=True)
class Crop(Transform):
    r"""A window of a larger image, in which the content is shifted and rotated without filled corners.

    .. math:: (t_j x)(p) = x\big(c + R_{-\theta_j} (p - d_j)\big)

    with p in pixels from the centre of the window, and c the centre of the image (half a pixel up or to the
    left of it if the margins cannot be equal). Signs are those of `Rotation` and `Translation`: content is
    rotated counter-clockwise by θ and then moved by d, to the right and down, so the window moves the other
    way. What enters the window comes from the image around it, as if the camera had moved.

    Measures compare with the central window, which must be among the elements. Whole shifts, and quarter
    turns of square windows, are bit-exact; others are interpolated. Elements have no inverse and no action on
    feature maps, because each brings in new content: use `Rotation` and `Translation` to measure
    equivariance.

    Caveats: images must be larger than the window (the error says how large), so the model sees less than the
    whole image. Rotations read about 1.4 times the size of the window. To isolate the effect of the corners,
    compare with `Rotation` of the central window.

    Args:
        size: height and width of the window; one number for both.
        shifts_px: (dx, dy) of the content, per element.
        degrees: one angle per element. A single shift or angle applies to all elements.
        interpolation: "bilinear", "bicubic" or "nearest".
    Raises:
        TypeError: `shifts_px` is not a list of pairs, or `degrees` not a list of numbers; images are not
            floating-point; an inverse or an action on feature maps is requested.
        ValueError: different numbers of shifts and angles, no element without shift and rotation, or images
            too small for the window.

    >>> import torch
    >>> image = torch.arange(25.0).view(1, 1, 5, 5)
    >>> Crop(3, [(0, 0), (1, 0)]).orbit(image)[0, :, 0]
    tensor([[[ 6.,  7.,  8.],
             [11., 12., 13.],
             [16., 17., 18.]],
    <BLANKLINE>
            [[ 5.,  6.,  7.],
             [10., 11., 12.],
             [15., 16., 17.]]])
    """

    inputs: ClassVar[Inputs] = Inputs((3, 48, 50))
    acts_on_maps: ClassVar[bool] = False

    size: int | tuple[int, int]
    shifts_px: Sequence[Sequence[float]] = ((0.0, 0.0),)
    degrees: Sequence[float] = (0.0,)
    _: KW_ONLY
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        choice("interpolation", self.interpolation, INTERPOLATIONS)
        shifts = _shifts(self.shifts_px)
        degrees = numbers("degrees", self.degrees, f"Crop.rotations({shown(self.size)}, 30)?")
        m = max(len(shifts), len(degrees))
        if not {len(shifts), len(degrees)} <= {1, m}:
            raise ValueError(
                f"shifts_px and degrees must have one entry per element, or a single one; got {len(shifts)} "
                f"and {len(degrees)}."
            )
        if m > 1 and len(shifts) == 1:
            shifts *= m
        if m > 1 and len(degrees) == 1:
            degrees *= m
        self._keep(size=_size(self.size), shifts_px=shifts, degrees=degrees)
        if self.traits.identity is None:
            raise ValueError(
                "Crop needs the central window among its elements, since measures compare with it: add the "
                "shift (0, 0) with the angle 0."
            )

    @classmethod
    def shifts(cls, size: Any, reach_px: int, *, step: int = 1, **options: Any) -> Crop:
        """Return all shifts by multiples of `step`, up to `reach_px` pixels in each direction, row by row."""
        if integer("reach_px", reach_px) < integer("step", step):
            raise ValueError(f"step must not exceed reach_px; got {step} px and {reach_px} px.")
        reach = reach_px // step
        elements(f"the number of shifts up to reach_px={reach_px}", (2 * reach + 1) ** 2)
        steps = [step * k for k in range(-reach, reach + 1)]
        return cls(size, [(dx, dy) for dy in steps for dx in steps], **options)

    @classmethod
    def rotations(cls, size: Any, reach_deg: float, m: int = 13, **options: Any) -> Crop:
        """Return `m` evenly spaced angles from `-reach_deg` to `reach_deg`; m must be odd, to include 0°."""
        if integer("m", m) % 2 == 0:
            raise ValueError(f"m must be odd, so that 0° is among the angles; got {m}.")
        reach = positive("reach_deg", reach_deg)
        return cls(size, degrees=evenly(-reach, reach, m), **options)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return whole shifts, and shifts together with rotations."""
        moved = cls((24, 20), [(0, 0), (2.5, -1), (0, 3)], [0, 0, -20], interpolation="bicubic")
        return cls.shifts(28, 2, step=2), moved

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point images (n, C, H, W) that contain every window."""
        need_images("Crop", x)
        height, width = x.shape[-2:]
        least = self._least_size()
        if height < least[0] or width < least[1]:
            raise ValueError(
                f"the window of {self._written()} leaves images of {height} × {width}: they must be at least "
                f"{least[0]} × {least[1]} (height × width). Give larger images, a smaller size=, or smaller "
                "shifts and angles."
            )

    def inverse(self) -> Transform:
        """Raise TypeError: content that left the window is lost."""
        raise no_inverse(self, "Use Rotation or Translation, or declare the inverses of callables")

    def table(self) -> None:
        """Return None: a window of a window is smaller, so the elements are not a group."""

    def _traits(self) -> Traits:
        still = [shift == (0, 0) and angle % 360 == 0 for shift, angle in self._pairs()]
        shifts, degrees = np.array(self.shifts_px, dtype=float), np.array(self.degrees, dtype=float)
        return Traits(
            tuple(map(_label, self.shifts_px, self.degrees)),
            {
                "shift_x_px": tuple(shifts[:, 0].tolist()),
                "shift_y_px": tuple(shifts[:, 1].tolist()),
                "angle_deg": tuple(degrees.tolist()),
            },
            identity=still.index(True) if any(still) else None,
            exact=tuple(map(self._is_exact, range(len(still)))),
            invertible=False,
            resizes=True,
            added_by=("shifts_px", "degrees"),
        )

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Read the window of each element, in a single interpolation."""
        refuse_maps(self, motion)
        if motion.inverse:
            self.inverse()
        corner = [(whole - size) // 2 for whole, size in zip(values.shape[-2:], self._size, strict=True)]
        grid = np.stack(np.meshgrid(*map(np.arange, self._size), indexing="ij"), axis=-1)

        def change(images: Tensor, element: int) -> Tensor:
            turn, start = self._reads(element)
            places = grid @ turn.T + start + np.array(corner)
            if self._is_exact(element):
                whole = torch.from_numpy(np.round(places).astype(np.int64)).to(images.device)
                return images[..., whole[..., 0], whole[..., 1]]
            return _interpolated(widened(images), places, self.interpolation).to(images.dtype)

        return by_element(values, motion, change)

    @property
    def _size(self) -> tuple[int, int]:
        assert isinstance(self.size, tuple)
        return self.size

    def _pairs(self) -> list[tuple[Any, float]]:
        return list(zip(self.shifts_px, self.degrees, strict=True))

    def _reads(self, element: int) -> tuple[np.ndarray, np.ndarray]:
        """Return A and b: pixel (r, c) of the window reads A (r, c) + b, from the corner of the centre."""
        (dx, dy), angle = self._pairs()[element]
        back = invert(compose(shifted(np.array(dx), np.array(dy)), rotated(np.array(float(angle)))))
        turn, shift = back[::-1, 1::-1], back[::-1, 2]  # from (x, y) to (row, column)
        centre = (np.array(self._size) - 1) / 2
        return turn, shift + centre - turn @ centre

    def _is_exact(self, element: int) -> bool:
        found = np.concatenate([part.ravel() for part in self._reads(element)])
        return bool((np.abs(found - np.round(found)) < _WHOLE).all())

    def _least_size(self) -> tuple[int, int]:
        """Return the smallest height and width of images that contain the windows of all elements."""
        last = np.array(self._size) - 1
        corners = last * np.array([(0, 0), (0, 1), (1, 0), (1, 1)])
        margin = np.zeros(2)
        for element in range(len(self)):
            turn, start = self._reads(element)
            places = corners @ turn.T + start
            spare = 0 if self._is_exact(element) else _MARGINS[self.interpolation]
            before = np.ceil(spare - places.min(0) - _WHOLE)
            after = np.ceil(spare + places.max(0) - last - _WHOLE)
            # If the difference of the sizes is odd, the margin after the window is a pixel wider.
            margin = np.maximum(margin, np.maximum(2 * before, 2 * after - 1))
        least = np.array(self._size) + margin.astype(int)
        return int(least[0]), int(least[1])

    def _written(self) -> str:
        height, width = self._size
        return f"Crop({height if height == width else self._size}) with {len(self)} elements"


def _interpolated(images: Tensor, places: np.ndarray, interpolation: str) -> Tensor:
    """Return images (row, C, H, W) at places (h, w, 2), rows and columns in pixels."""
    size = np.array(images.shape[-2:])
    grid = torch.from_numpy((((2 * places + 1) / size) - 1)[..., ::-1].copy()).to(images.device, images.dtype)
    grid = grid.expand(len(images), *grid.shape)
    return F.grid_sample(images, grid, mode=interpolation, padding_mode="border", align_corners=False)


def _size(given: Any) -> tuple[int, int]:
    if isinstance(given, tuple | list):
        if len(given) != 2:
            raise ValueError(f"size must be one number, or (height, width); got {shown(given)}.")
        height, width = (integer(f"size[{k}]", side, most=_LARGEST) for k, side in enumerate(given))
        return height, width
    return (integer("size", given, most=_LARGEST),) * 2


def _shifts(given: Any) -> tuple[tuple[float, float], ...]:
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise TypeError(f"shifts_px must be a list of (dx, dy) pairs, one per element; got {shown(given)}.")
    found = []
    for k, shift in enumerate(bounded("shifts_px", given)):
        if isinstance(shift, str) or not hasattr(shift, "__len__") or len(shift) != 2:
            raise TypeError(
                f"shifts_px[{k}] must be a pair (dx, dy), dx to the right, dy down; got {shown(shift)}."
            )
        dx, dy = numbers(f"shifts_px[{k}]", shift)
        found.append((dx, dy))
    if not found:
        raise ValueError("shifts_px is empty: a transform needs at least one element.")
    return tuple(found)


def _label(shift: Sequence[float], angle: float) -> str:
    dx, dy = (f"{pixels:+g}" if pixels else "0" for pixels in shift)
    moved = f"({dx}, {dy}) px" if any(shift) else ""
    turned = f"{angle:g}°" if angle else ""
    return ", ".join(filter(None, [turned, moved])) or "centre"
