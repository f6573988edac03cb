"""Checks of the options and inputs of transforms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.common.checks import bounded, elements, shown
from invariscope.common.registry import unknown

_MOST_COLOURS = 4
_LARGEST = 1e12  # beyond, float32 coordinates and values lose all digits
_CONVERT = "Convert first, e.g. x.float() / 255, or x.float() if the model scales its inputs itself."


def numbers(name: str, values: Any, hint: str = "") -> tuple[float, ...]:
    """Return a non-empty list of finite numbers as a tuple of floats.

    Args:
        name: name of the option.
        values: the user's value.
        hint: what to write instead of a single number.
    """
    if isinstance(values, str | int | float) or not isinstance(values, Iterable):
        hint = hint or f"Write [{shown(values)}]?"
        raise TypeError(f"{name} must be a list of numbers, one per element; got {shown(values)}. {hint}")
    found = tuple(number(f"{name}[{k}]", value) for k, value in enumerate(bounded(name, values)))
    if not found:
        raise ValueError(f"{name} is empty: a transform needs at least one element.")
    return found


def number(name: str, value: Any) -> float:
    """Return a finite number as a float."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number; got {shown(value)}.") from None
    if not math.isfinite(found):
        raise ValueError(f"{name} must be finite; got {found}.")
    if abs(found) > _LARGEST:
        raise ValueError(f"{name} must be at most {_LARGEST:g} in size; got {found:g}.")
    return found


def positive(name: str, value: Any) -> float:
    """Return a finite number above 0 as a float."""
    found = number(name, value)
    if found <= 0:
        raise ValueError(f"{name} must be above 0; got {found:g}.")
    return found


def numbers_from(least: float, name: str, values: Any, *, most: float = _LARGEST) -> tuple[float, ...]:
    """Return a non-empty list of finite numbers from `least` to `most` as a tuple of floats."""
    found = numbers(name, values)
    for k, value in enumerate(found):
        if not least <= value <= most:
            upto = "at least {:g}" if most == _LARGEST else "from {:g} to {:g}"
            raise ValueError(f"{name}[{k}] must be {upto.format(least, most)}; got {value:g}.")
    return found


def one_per_element(name: str, entries: Sequence[Any], m: int) -> tuple[Any, ...]:
    """Return the entries as a tuple if there is one per element."""
    if len(entries) != m:
        raise ValueError(f"{name} must have one entry per element: expected {m}, got {len(entries)}.")
    return tuple(entries)


def nested(values: np.ndarray) -> tuple[Any, ...]:
    """Return an array as nested tuples of numbers, which are hashable."""
    return tuple(map(nested, values)) if values.ndim > 1 else tuple(values.tolist())


def evenly(lo: Any, hi: Any, m: Any, spaced: Callable[..., np.ndarray] = np.linspace) -> list[float]:
    """Return `m` numbers from `lo` to `hi`, both included."""
    return spaced(number("lo", lo), number("hi", hi), elements("m", m)).tolist()


def choice(kind: str, value: Any, options: tuple[str, ...]) -> str:
    """Return the value if it is one of the options; otherwise raise ValueError with the closest ones."""
    if value not in options:
        raise unknown(kind, str(value), options)
    return value


def need_range(family: str, example: str, *ends: Any) -> None:
    """Raise ValueError unless a range is given: groups that are not compact have no uniform distribution."""
    if any(end is None for end in ends):
        raise ValueError(
            f"{family} is not a compact group, so it has no uniform distribution. Give a range, such as "
            f"{example}, or list the elements."
        )


def need_tensor(family: str, x: Any) -> None:
    """Raise unless `x` is a tensor with at least one sample."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{family} transforms a torch tensor; got {type(x).__module__}.{type(x).__name__}. "
            "Convert it first, e.g. torch.as_tensor(x)."
        )
    if x.ndim == 0 or x.shape[0] == 0:
        raise ValueError(f"{family} needs at least one sample; got a tensor of shape {tuple(x.shape)}.")


def need_floating(family: str, x: Tensor, advice: str = _CONVERT) -> None:
    """Raise TypeError unless the tensor holds floating-point values."""
    if not x.is_floating_point():
        raise TypeError(f"{family} needs floating-point values; {_came(x)}. {advice}")


def need_images(family: str, x: Any, axes: str = "n, C, H, W") -> None:
    """Raise TypeError unless `x` holds floating-point images with the given axes."""
    need_tensor(family, x)
    if x.ndim != axes.count(",") + 1 or 0 in x.shape:
        came = f"{_came(x)}.{_shape_hint(x)}"
        if axes != "n, C, H, W":  # the numbers of samples and elements say nothing about the layer
            came = f"got (n, m, {', '.join(map(str, x.shape[2:]))})."
        raise TypeError(f"{family} acts on images or feature maps ({axes}); {came}")
    need_floating(family, x)


def need_square(family: str, x: Tensor) -> None:
    """Raise ValueError unless the images are square."""
    height, width = x.shape[-2:]
    if height != width:
        raise ValueError(
            f"{family} maps the pixel grid onto itself only if images are square; got {height} × {width}. "
            f"{_last_hint(x)}Crop or pad to a square, or use Rotation([0, 90, 180, 270]), which keeps the "
            "canvas."
        )


class ChannelsLastError(ValueError):
    """Raised for a feature map that seems to have its channels last."""

    unclear_layout = True


def need_map_of(family: str, maps: Tensor, input_size: tuple[int, int]) -> None:
    """Raise if maps (n, m, C, H, W) seem to be (n, m, H, W, C), judging by the input size (H, W)."""
    shape = tuple(maps.shape[-3:])
    first, last = _stretch(shape[:2], input_size), _stretch(shape[1:], input_size)
    if (first == 0 and last > 0) or (first <= 0.1 and last > 0.2):
        height, width = input_size
        raise ChannelsLastError(
            f"{family} acts on maps with channels first (C, H, W); the shape {shape}, for inputs of "
            f"{height} × {width}, looks like a map with channels last. Read it through a callable that "
            "moves its channels to the front."
        )


def _stretch(size: tuple[int, ...], of: tuple[int, int]) -> float:
    """Return the difference in aspect ratio: 0 if equal, 0.1 if one is 10 % longer."""
    sides = size[0] * of[1], size[1] * of[0]
    return max(sides) / min(sides) - 1


def _shape_hint(x: Tensor) -> str:
    if x.ndim == 3:
        return " Add the missing axis: x[:, None] for gray images, x[None] for a single image."
    return " For data other than images, give callables: Elements([...])."


def _last_hint(x: Tensor) -> str:
    """Return a question about channels if the last axis is too short to be a width."""
    channels, height, width = x.shape[-3:]
    if width > _MOST_COLOURS or min(channels, height) <= _MOST_COLOURS:
        return ""
    return f"Do channels come last, (n, H, W, {width})? Then move them: x.movedim(-1, 1). "


def _came(x: Tensor) -> str:
    return f"got shape {tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}"
