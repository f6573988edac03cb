"""Where the units of every feature map stand in the image: followed through one forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from invariscope.readers.base import LayerKey, Precision, Reader, Reading
from invariscope.readers.torch.functions import POINTWISE, operation_name

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_MAX = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = ("input", "kernel_size", "stride", "padding", "ceil_mode")


@dataclass(frozen=True)
class UnitGrid:
    """The places of a feature map's units, per axis of the image, in pixels counted from 0.

    Args:
        jump: pixels from one unit to the next.
        middle: of all units: the image's own middle, (size − 1)/2, where turns and flips leave the grid
            what it is.
    """

    jump: tuple[float, ...]
    middle: tuple[float, ...]

    def off_centre(self, image: Sequence[int]) -> tuple[float, ...]:
        """How far the middle is from that of an image of so many pixels.

        >>> UnitGrid((2.0,), (13.0,)).off_centre((28,))
        (-0.5,)
        """
        return tuple(middle - (size - 1) / 2 for middle, size in zip(self.middle, image, strict=True))


def grids(
    reader: Reader, x: Tensor, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
) -> dict[LayerKey, UnitGrid]:
    r"""The grid of every layer whose positions can be followed, from one forward.

    .. math:: m' = m + \left(\frac{(k - 1)\,d + (n' - 1)\,r - (n - 1)}{2} - p\right) j, \quad j' = r\,j

    for a convolution or pool with kernel k, dilation d, padding p and stride r that makes n' units of n;
    pointwise operations, sums of equal sizes, padding, adaptive pools, upsampling and transposed
    convolutions are followed as well, modules or not. Layers behind anything else are missing.

    Args:
        reader: of a torch model; what runs elsewhere cannot be followed.
        x: a few inputs (sample, C, axis...).
        device, precision, seed: as for `Reader.open`.
    """
    found: dict[LayerKey, UnitGrid] = {}
    follow = _Following()
    follow.keep(x, UnitGrid((1.0,) * (x.ndim - 2), tuple((size - 1) / 2 for size in x.shape[2:])))

    def note(reading: Reading) -> None:
        grid = None if reading.values is None else follow.known(reading.values)
        if grid is not None:
            found[reading.layer, reading.call] = grid

    with reader.open(device=device, precision=precision, seed=seed) as forward, follow:
        forward(x, note)
    return found


class _Following(TorchFunctionMode):
    """Keeps the grid of every tensor for which it is known."""

    def __init__(self) -> None:
        super().__init__()
        self.grids: Any = WeakIdKeyDictionary()

    def keep(self, tensor: Tensor, grid: UnitGrid) -> None:
        """Of a tensor (sample, channel, axis...)."""
        self.grids[tensor] = grid

    def known(self, tensor: Any) -> UnitGrid | None:
        """None where it is not known."""
        return self.grids.get(tensor) if isinstance(tensor, Tensor) else None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the operation, and follows it where what it does to positions is known."""
        options = kwargs or {}
        inputs = [t for t in _tensors([*args, *options.values()]) if self.known(t) is not None]
        sizes = [tuple(t.shape[2:]) for t in inputs]  # an operation in place may change them
        result = func(*args, **options)
        output = result[0] if isinstance(result, tuple) and result else result
        if inputs and isinstance(output, Tensor):
            self._follow(followed_name(getattr(func, "__name__", "")), inputs, sizes, output, args, options)
        return result

    def _follow(
        self,
        name: str,
        inputs: list[Tensor],
        sizes: list[tuple[int, ...]],
        output: Tensor,
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        grid, before, after = self.grids[inputs[0]], sizes[0], tuple(output.shape[2:])
        new: UnitGrid | None = None
        if len(after) == len(before) and name in POINTWISE:
            whole = {self.grids[t] for t, size in zip(inputs, sizes, strict=True) if size == after}
            new = whole.pop() if len(whole) == 1 else None
        elif len(after) == len(before) and name in _STEPS:
            new = _STEPS[name](grid, before, after, args, options)
        if new is None:
            self.grids.pop(output, None)
        else:
            self.keep(output, new)


@cache
def followed_name(raw: str) -> str:
    """What an operation is called here; copies and padding, which are no layers, have names too.

    >>> [followed_name(name) for name in ("relu_", "__rsub__", "pad", "contiguous")]
    ['relu', 'sub', 'pad', 'contiguous']
    """
    return operation_name(raw) or raw.strip("_")


def _tensors(values: Any) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [entry for entry in value if isinstance(entry, Tensor)]
    return found


_Sizes = tuple[int, ...]


def _slid(
    grid: UnitGrid,
    before: _Sizes,
    after: _Sizes,
    reach: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
) -> UnitGrid:
    """Windows that reach over `reach` steps, every `stride` steps, the first of them `padding` outside."""
    middles = (
        middle + jump * ((extent + (n_out - 1) * step - (n - 1)) / 2 - pad)
        for middle, jump, n, n_out, extent, step, pad in zip(
            grid.middle, grid.jump, before, after, reach, stride, padding, strict=True
        )
    )
    jumps = (jump * step for jump, step in zip(grid.jump, stride, strict=True))
    return UnitGrid(tuple(jumps), tuple(middles))


def _convolved(
    grid: UnitGrid, before: _Sizes, after: _Sizes, args: tuple[Any, ...], options: dict[str, Any]
) -> UnitGrid:
    given = dict(zip(_CONV, args, strict=False)) | options
    axes, kernel = len(before), tuple(given["weight"].shape[2:])
    dilation = _each(given.get("dilation", 1), axes)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        padding = tuple(extent // 2 for extent in reach) if padding == "same" else 0
    return _slid(grid, before, after, reach, _each(given.get("stride", 1), axes), _each(padding, axes))


def _pooled(
    grid: UnitGrid, before: _Sizes, after: _Sizes, args: tuple[Any, ...], options: dict[str, Any], names: Any
) -> UnitGrid:
    given = dict(zip(names, args, strict=False)) | options
    axes = len(before)
    kernel, dilation = _each(given["kernel_size"], axes), _each(given.get("dilation", 1), axes)
    stride = _each(given.get("stride") or kernel, axes)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    return _slid(grid, before, after, reach, stride, _each(given.get("padding", 0), axes))


def _max_pooled(*given: Any) -> UnitGrid:
    return _pooled(*given, names=_MAX)


def _average_pooled(*given: Any) -> UnitGrid:
    return _pooled(*given, names=_AVERAGE)


def _transposed(
    grid: UnitGrid, before: _Sizes, after: _Sizes, args: tuple[Any, ...], options: dict[str, Any]
) -> UnitGrid:
    """Unit i of the input stands at i·stride − padding + reach/2 of the output."""
    given = dict(zip(_TRANSPOSED, args, strict=False)) | options
    axes, kernel = len(before), tuple(given["weight"].shape[2:])
    stride, padding, dilation = (
        _each(given.get(name, default), axes)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    parts = zip(grid.jump, grid.middle, before, after, kernel, stride, padding, dilation, strict=True)
    middles = [
        middle + jump * ((n_out - 1 - (k - 1) * d) / 2 + pad - (n - 1) * step / 2) / step
        for jump, middle, n, n_out, k, step, pad, d in parts
    ]
    return UnitGrid(tuple(j / s for j, s in zip(grid.jump, stride, strict=True)), tuple(middles))


def _spread_evenly(
    grid: UnitGrid, before: _Sizes, after: _Sizes, args: tuple[Any, ...], options: dict[str, Any]
) -> UnitGrid:
    """Adaptive pools and upsampling cover the same stretch with another number of units."""
    jumps = (jump * n / n_out for jump, n, n_out in zip(grid.jump, before, after, strict=True))
    return UnitGrid(tuple(jumps), grid.middle)


def _padded(
    grid: UnitGrid, before: _Sizes, after: _Sizes, args: tuple[Any, ...], options: dict[str, Any]
) -> UnitGrid:
    """Sides are listed from the last axis on, the one before first; negative ones are cut off."""
    sides = [*(options["pad"] if "pad" in options else args[1]), *(0,) * (2 * len(before))]
    pairs = [(sides[2 * k], sides[2 * k + 1]) for k in range(len(before))][::-1]
    middles = (
        middle + jump * (behind - ahead) / 2
        for middle, jump, (ahead, behind) in zip(grid.middle, grid.jump, pairs, strict=True)
    )
    return UnitGrid(grid.jump, tuple(middles))


def _each(value: Any, axes: int) -> tuple[int, ...]:
    entries = tuple(value) if isinstance(value, list | tuple) else (value,)
    return entries * axes if len(entries) == 1 else entries


_Step = Callable[[UnitGrid, _Sizes, _Sizes, tuple[Any, ...], dict[str, Any]], UnitGrid]
_STEPS: dict[str, _Step] = {
    **{f"conv{d}d": _convolved for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": _transposed for d in (1, 2, 3)},
    **{f"max_pool{d}d": _max_pooled for d in (1, 2, 3)},
    **{f"max_pool{d}d_with_indices": _max_pooled for d in (1, 2, 3)},
    **{f"avg_pool{d}d": _average_pooled for d in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{d}d": _spread_evenly for kind in ("avg", "max") for d in (1, 2, 3)},
    "interpolate": _spread_evenly,
    "pad": _padded,
}
