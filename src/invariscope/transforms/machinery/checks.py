"""What a user may hand to a transform, and the sentences for what they may not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.common.checks import integer
from invariscope.common.registry import unknown

_MOST_COLOURS = 4


def numbers(name: str, values: Any, hint: str = "") -> tuple[float, ...]:
    """Return a non-empty list of finite numbers as a tuple of floats.

    Args:
        name: of the option.
        values: what was given.
        hint: what to write instead of a single number.
    """
    if isinstance(values, str | int | float) or not isinstance(values, Iterable):
        hint = hint or f"Write [{values}]?"
        raise TypeError(f"{name} is a list of numbers, one per element; got {values!r}. {hint}")
    found = tuple(number(f"{name}[{k}]", value) for k, value in enumerate(values))
    if not found:
        raise ValueError(f"{name} is empty: a transform needs at least one element.")
    return found


def number(name: str, value: Any) -> float:
    """One finite number as a float."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}.") from None
    if not math.isfinite(found):
        raise ValueError(f"{name} must be finite; got {found}.")
    return found


def evenly(lo: Any, hi: Any, m: Any, spaced: Callable[..., np.ndarray] = np.linspace) -> list[float]:
    """Return `m` numbers from `lo` to `hi`, both included."""
    return spaced(number("lo", lo), number("hi", hi), integer("m", m)).tolist()


def choice(kind: str, value: Any, options: tuple[str, ...]) -> str:
    """One of the named options; otherwise a ValueError with the closest names."""
    if value not in options:
        raise unknown(kind, str(value), options)
    return value


def need_range(family: str, example: str, *ends: Any) -> None:
    """Refuses to draw from all of a group that is not compact: no draw from it is uniform."""
    if any(end is None for end in ends):
        raise ValueError(
            f"{family} is no compact group: it has no end, and so no uniform draw from all of it. Give a "
            f"range, such as {example}, or list the elements."
        )


def need_tensor(family: str, x: Any) -> None:
    """Refuses what is no batch of at least one sample in a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{family} transforms a torch tensor; got {type(x).__module__}.{type(x).__name__}. "
            "Convert it first, e.g. torch.as_tensor(x)."
        )
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"{family} needs at least one sample; got a tensor of shape {tuple(x.shape)}.")


def need_images(family: str, x: Any, axes: str = "n, C, H, W") -> None:
    """Refuses what is no batch of floating-point images with the given axes."""
    need_tensor(family, x)
    if x.ndim != axes.count(",") + 1 or 0 in x.shape:
        if axes != "n, C, H, W":  # how many samples and elements came together says nothing of the layer
            raise TypeError(f"{family} acts on images or feature maps ({axes}); got {_layer_shape(x)}.")
        raise TypeError(f"{family} acts on images or feature maps ({axes}); {_came(x)}.{_shape_hint(x)}")
    if not x.is_floating_point():
        raise TypeError(
            f"{family} needs floating-point values; {_came(x)}. Convert first, e.g. x.float() / 255, "
            "or x.float() if the model scales its inputs itself."
        )


def need_square(family: str, x: Tensor) -> None:
    """Refuses images of another shape than a square."""
    height, width = x.shape[-2:]
    if height != width:
        raise ValueError(
            f"{family} maps the pixel grid onto itself only where images are square; got {height} × {width}. "
            f"{_last_hint(x)}Crop or pad to a square, or use Rotation([0, 90, 180, 270]), which keeps the "
            "canvas."
        )


class ChannelsLastError(ValueError):
    """A map has the shape of one with channels last."""

    unclear_layout = True


def need_map_of(family: str, maps: Tensor, input_size: tuple[int, int]) -> None:
    """Refuses maps (n, m, C, H, W) that have the shape of (n, m, H, W, C), for inputs (H, W) of that size."""
    shape = tuple(maps.shape[-3:])
    first, last = _stretch(shape[:2], input_size), _stretch(shape[1:], input_size)
    if (first == 0 and last > 0) or (first <= 0.1 and last > 0.2):
        height, width = input_size
        raise ChannelsLastError(
            f"{family} acts on maps with channels first (C, H, W); the shape {shape}, for inputs of "
            f"{height} × {width}, is that of a map with channels last. Read it through a callable that "
            "moves its channels to the front."
        )


def _stretch(size: tuple[int, ...], of: tuple[int, int]) -> float:
    """How far apart the proportions of two sizes are: 0 where they agree, 0.1 where one is 10 % longer."""
    sides = size[0] * of[1], size[1] * of[0]
    return max(sides) / min(sides) - 1


def _shape_hint(x: Tensor) -> str:
    if x.ndim == 3:
        return " Add the missing axis: x[:, None] for gray images, x[None] for a single image."
    return " For data that are no images, give callables: Elements([...])."


def _last_hint(x: Tensor) -> str:
    """The question whether the last axis, which is too short for a width, holds channels."""
    channels, height, width = x.shape[-3:]
    if width > _MOST_COLOURS or min(channels, height) <= _MOST_COLOURS:
        return ""
    return f"Do channels come last, (n, H, W, {width})? Then move them: x.movedim(-1, 1). "


def _layer_shape(x: Tensor) -> str:
    return f"(n, m, {', '.join(map(str, x.shape[2:]))})"


def _came(x: Tensor) -> str:
    return f"got shape {tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}"
