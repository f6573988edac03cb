"""Translation by pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from invariscope.common.checks import integer
from invariscope.common.draws import Draws
from invariscope.transforms.base import Transform
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.affine import _Sampled
from invariscope.transforms.machinery.checks import choice, need_range, number, numbers
from invariscope.transforms.machinery.matrices import shifted
from invariscope.transforms.machinery.sliding import Slider, _Sliding

Shift = tuple[float, float]


@dataclass(frozen=True)
class Translation(_Sampled, _Sliding):
    """Shifts in pixels: dx to the right, dy down.

    .. math:: (t_j x)(r, c) = x(r - dy_j,\\; c - dx_j)

    Whole pixels are moved bit for bit, and what they leave behind is filled by the padding; fractions are
    interpolated. On a feature map of another resolution the shift is scaled by the ratio of the sizes.

    No finite group: what leaves the image does not come back, and the table is None.

    Misleads: an object that is cut off by the border is another input, not a shifted one; keep the shifts
    below the margin around the objects. A network with stride s is at best exactly equivariant to multiples
    of s.

    Args:
        shifts_px: (dx, dy) for each element; 3 × 3 shifts by 2 pixels by default.
        jitter_px: half-width of the uniform draws added to each dx and dy, for each (seed, sample index,
            element).
        interpolation: "bilinear", "bicubic" or "nearest".
        padding: "zeros", "border" or "reflection".
    Raises:
        TypeError: no pairs of numbers.
        ValueError: no shift, a shift that is not finite, an unknown option.

    >>> import torch
    >>> row = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> Translation([(1, 0)]).orbit(row)[0, 0, 0]
    tensor([[0., 1., 2.]])
    >>> Translation.range(-3, 3, 3).labels
    ('-3 px', '0 px', '+3 px')
    """

    shifts_px: Sequence[Sequence[float]] = tuple((dx, dy) for dy in (-2, 0, 2) for dx in (-2, 0, 2))
    _: KW_ONLY
    jitter_px: float = 0.0

    @classmethod
    def range(
        cls, lo: float, hi: float, m: int, *, direction: str = "horizontal", **sampling: Any
    ) -> Translation:
        """`m` shifts from `lo` to `hi` pixels, both included, along one direction."""
        choice("direction", direction, ("horizontal", "vertical"))
        steps = np.linspace(number("lo", lo), number("hi", hi), integer("m", m)).tolist()
        return cls([(s, 0.0) if direction == "horizontal" else (0.0, s) for s in steps], **sampling)

    @classmethod
    def grid(cls, radius: int, *, step: int = 1, **sampling: Any) -> Translation:
        """All shifts by multiples of `step` up to `radius` pixels each way, row by row."""
        if integer("radius", radius) < integer("step", step):
            raise ValueError(f"the step, {step} px, exceeds the radius, {radius} px: one shift is left.")
        reach = radius // step
        steps = [step * k for k in range(-reach, reach + 1)]
        return cls([(dx, dy) for dy in steps for dx in steps], **sampling)

    @classmethod
    def uniform(cls, m: int, reach_px: float | None = None, **sampling: Any) -> Translation:
        """`m` shifts drawn for each sample, dx and dy uniform up to `reach_px` pixels each way.

        Raises:
            ValueError: no reach; translations have no end.
        """
        need_range("Translation", "Translation.uniform(8, 3), up to 3 px each way", reach_px)
        return cls([(0.0, 0.0)] * integer("m", m), jitter_px=number("reach_px", reach_px), **sampling)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """A grid of whole pixels, fractions of a pixel, and draws."""
        fractions = cls.range(-1.5, 1.5, 4, direction="vertical", padding="reflection")
        return cls.grid(1), fractions, cls.uniform(3, 2)

    @property
    def labels(self) -> tuple[str, ...]:
        """The shifts: "+3 px" where all are horizontal, "(+3, -1) px" otherwise."""
        if self.per_sample:
            spread = f" ± {self.jitter_px:g} px"
            return tuple(f"({_signed(dx)}, {_signed(dy)}){spread}" for dx, dy in self.shifts_px)
        if all(dy == 0 for _, dy in self.shifts_px):
            return tuple(f"{_signed(dx)} px" for dx, _ in self.shifts_px)
        return tuple(f"({_signed(dx)}, {_signed(dy)}) px" for dx, dy in self.shifts_px)

    @property
    def parameters(self) -> Mapping[str, tuple[float, ...]]:
        """The shifts to the right, `shift_x_px`, and down, `shift_y_px`."""
        x, y = zip(*self.shifts_px, strict=True)
        return {"shift_x_px": tuple(x), "shift_y_px": tuple(y)}

    @property
    def per_sample(self) -> bool:
        """Whether the shifts are jittered."""
        return self.jitter_px > 0

    @property
    def slider(self) -> Slider | None:
        """The shift along the one axis on which elements differ; None where they do on both, or are drawn."""
        if self.per_sample:
            return None
        across = {dx for dx, _ in self.shifts_px}, {dy for _, dy in self.shifts_px}
        if min(map(len, across)) > 1:
            return None
        axis = int(len(across[1]) > 1)
        name, values = list(self.parameters.items())[axis]
        return Slider(name, values, partial(self._at, axis, next(iter(across[1 - axis]))))

    def _at(self, axis: int, other: float, values: Sequence[float]) -> Transform:
        return replace(self, shifts_px=tuple((other, v) if axis else (v, other) for v in values))

    def inverse(self) -> Transform:
        """The opposite shifts; with jitter, undoing the very same draws."""
        if self.per_sample:
            return Inverse(self)
        return replace(self, shifts_px=tuple((-dx + 0.0, -dy + 0.0) for dx, dy in self.shifts_px))

    def _validated(self) -> dict[str, Any]:
        jitter = number("jitter_px", self.jitter_px)
        if jitter < 0:
            raise ValueError(f"jitter_px is the half-width of a draw, at least 0; got {jitter:g}.")
        shifts = tuple(_pair(k, shift) for k, shift in enumerate(_listed(self.shifts_px)))
        return {"shifts_px": shifts, "jitter_px": jitter}

    def _matrices(self, elements: np.ndarray, draws: Draws | None) -> np.ndarray:
        shifts = np.array(self.shifts_px)[elements]
        if draws is not None:
            shifts = shifts + self.jitter_px * (2 * draws.uniforms(2) - 1)
        return shifted(shifts[..., 0], shifts[..., 1])


def _listed(shifts: Any) -> list[Any]:
    if isinstance(shifts, str) or not hasattr(shifts, "__iter__"):
        raise TypeError(f"shifts_px is a list of (dx, dy) pairs, one an element; got {shifts!r}.")
    found = list(shifts)
    if not found:
        raise ValueError("shifts_px is empty: a transform needs at least one element.")
    return found


def _pair(position: int, shift: Any) -> Shift:
    if isinstance(shift, str) or not hasattr(shift, "__len__") or len(shift) != 2:
        raise TypeError(f"shifts_px[{position}] is a pair (dx, dy), dx to the right, dy down; got {shift!r}.")
    dx, dy = numbers(f"shifts_px[{position}]", shift)
    return dx, dy


def _signed(pixels: float) -> str:
    return f"{pixels:+g}" if pixels else "0"
