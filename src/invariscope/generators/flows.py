"""The built-in generators of image transforms, and generators made from callables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor

from invariscope.common.registry import unknown
from invariscope.generators.base import Generator
from invariscope.generators.derivatives import Derivatives

_Pair = tuple[float, float]


@dataclass(frozen=True)
class AffineFlow(Generator):
    r"""Move content with velocity v(p) = A p + b, for p in pixels about the centre, x right and y down.

    .. math:: X x = -v \cdot \nabla x

    On a feature map, p and v are scaled by the ratio of its size to the input's along each axis. With
    bilinear interpolation, p runs from −1 to 1 across every image and b is in units of half the image size,
    as in a sampling grid.

    Args:
        label: name of the generator.
        matrix: the rows of A.
        shift: b.
        unit: unit of t.
        step: value of t at which central differences are taken.

    >>> turn = AffineFlow("turn", ((0, 1), (-1, 0)))
    >>> turn.tangent(Derivatives(torch.ones(1, 1, 5, 5))).abs().max() < 1e-6
    tensor(True)
    """

    label: str
    matrix: tuple[_Pair, _Pair] = ((0.0, 0.0), (0.0, 0.0))
    shift: _Pair = (0.0, 0.0)
    unit: str = "1"
    step: float = 0.0005
    moves_maps = True

    @property
    def name(self) -> str:
        """The label."""
        return self.label

    def tangent(self, at: Derivatives, *, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return −v·∇ of the images."""
        along_x, along_y = at.first
        velocity_x, velocity_y = self._velocity(at, input_size or at.size)
        return (along_x * -velocity_x).addcmul_(along_y, velocity_y, value=-1)

    def _velocity(self, at: Derivatives, input_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the velocity along x and y, (height, width), in pixels of these images."""
        (height, width), like = at.size, at.images
        if at.interpolation == "bilinear":
            scale_x, scale_y = (width - 1) / 2, (height - 1) / 2
        else:
            scale_x, scale_y = width / input_size[1], height / input_size[0]
        x = (_centred(width, like) / (scale_x or 1)).expand(height, width)
        y = (_centred(height, like) / (scale_y or 1))[:, None].expand(height, width)
        (xx, xy), (yx, yy) = self.matrix
        return scale_x * (xx * x + xy * y + self.shift[0]), scale_y * (yx * x + yy * y + self.shift[1])


def _centred(n: int, like: Tensor) -> Tensor:
    return torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1) / 2


@dataclass(frozen=True)
class Blur(Generator):
    r"""The heat flow, with t the variance of the Gaussian in squared pixels.

    .. math:: X x = \tfrac12 \Delta x
    """

    unit = "px²"
    step = 0.003  # far below the variance of any pattern
    moves_maps = True  # a map of half the size blurs with a quarter of the variance

    @property
    def name(self) -> str:
        """The name "blur"."""
        return "blur"

    def tangent(self, at: Derivatives, *, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return half the Laplacian."""
        (height, width), (rows, columns) = at.size, input_size or at.size
        across, down = at.second
        return ((width / columns) ** 2 * across + (height / rows) ** 2 * down) / 2


@dataclass(frozen=True)
class Intensity(Generator):
    r"""Multiply all values, including those of feature maps, by 1 + t.

    .. math:: X x = x
    """

    unit = "1"
    step = 0.0005
    moves_maps = True

    @property
    def name(self) -> str:
        """The name "intensity"."""
        return "intensity"

    def tangent(self, at: Derivatives, *, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return the images themselves."""
        return at.images


@dataclass(frozen=True)
class UserFlow(Generator):
    r"""A flow given by a callable, differentiated by a central difference.

    .. math:: X x = \frac{\rho(h) x - \rho(-h) x}{2h}

    Args:
        flow: callable (x, t) that returns ρ(t) x for a batch x, with ρ(0) x = x.
        label: name of the generator; by default the name of the callable.
        moves_maps: whether the same callable acts on equivariant feature maps; if not, they stay the same.
        step: h.

    >>> brighter = UserFlow(lambda x, t: x + t, "brightness")
    >>> float(brighter.tangent(Derivatives(torch.zeros(1, 1, 2, 2))).mean())
    1.0
    """

    flow: Callable[[Tensor, float], Tensor] = field(repr=False)
    label: str = ""
    moves_maps: bool = False
    step: float = 0.01
    unit = "t"

    @property
    def name(self) -> str:
        """The label, or else the name of the callable."""
        return self.label or getattr(self.flow, "__name__", type(self.flow).__name__)

    def tangent(self, at: Derivatives, *, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return the central difference."""
        forth, back = (self.flow(at.images, sign * self.step) for sign in (1, -1))
        for moved in (forth, back):
            if not isinstance(moved, Tensor) or moved.shape != at.images.shape:
                came = tuple(moved.shape) if isinstance(moved, Tensor) else type(moved).__name__
                raise ValueError(
                    f"the flow {self.name!r} must keep the shape {tuple(at.images.shape)}; it returned {came}"
                )
        return (forth - back) / (2 * self.step)


_FLOWS: dict[str, Generator] = {
    flow.name: flow
    for flow in (
        AffineFlow("translation_x", shift=(1.0, 0.0), unit="px", step=0.003),
        AffineFlow("translation_y", shift=(0.0, 1.0), unit="px", step=0.003),
        AffineFlow("rotation", ((0.0, 1.0), (-1.0, 0.0)), unit="rad"),
        AffineFlow("scale", ((1.0, 0.0), (0.0, 1.0))),
        AffineFlow("shear_x", ((0.0, 1.0), (0.0, 0.0))),
        AffineFlow("shear_y", ((0.0, 0.0), (1.0, 0.0))),
        AffineFlow("hyperbolic", ((0.0, 1.0), (1.0, 0.0))),
        Blur(),
        Intensity(),
    )
}
NAMES = tuple(_FLOWS)


def named(name: str) -> Generator:
    """Return the generator of this name; raise ValueError with the closest names if there is none."""
    if name not in _FLOWS:
        raise unknown("generator", name, NAMES)
    return _FLOWS[name]


def as_generators(given: Any) -> tuple[Generator, ...]:
    """Return generators from a name, a generator, a callable (x, t), or a list of these.

    Raises:
        ValueError: an empty list, an unknown name, or the same name twice.
        TypeError: a type that is not supported.

    >>> [generator.name for generator in as_generators(["rotation", lambda x, t: x + t])]
    ['rotation', '<lambda>']
    """
    several = isinstance(given, Iterable) and not isinstance(given, str)
    found = tuple(_as_generator(entry) for entry in (given if several else [given]))
    names = [generator.name for generator in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not found:
        raise ValueError("generators must include at least one generator; got none.")
    if twice:
        raise ValueError(
            f"generators must have different names; got {twice[0]!r} {names.count(twice[0])} times. Name a "
            "callable with UserFlow(f, label)."
        )
    return found


def _as_generator(entry: Any) -> Generator:
    if isinstance(entry, Generator):
        return entry
    if isinstance(entry, str):
        return named(entry)
    if callable(entry) and not isinstance(entry, type):
        return UserFlow(cast("Callable[[Tensor, float], Tensor]", entry))
    raise TypeError(
        f"a generator must be a name, a Generator, or a callable (x, t); got {type(entry).__name__}"
    )
