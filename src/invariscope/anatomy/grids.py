"""Positions in the image of every feature map's units, tracked through one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from invariscope.readers.base import LayerKey, Precision, Reader, Reading
from invariscope.readers.torch.functions import POINTWISE, followed_name, tensors_among

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_MAX = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVERAGE = ("input", "kernel_size", "stride", "padding", "ceil_mode")


@dataclass(frozen=True)
class UnitGrid:
    """Positions of a feature map's units, per axis of the image, in pixels counted from 0.

    Args:
        jump: distance between adjacent units, in pixels.
        middle: centre of all units. If it is the image's centre, (size − 1)/2, rotations and flips map the
            grid onto itself.
    """

    jump: tuple[float, ...]
    middle: tuple[float, ...]

    def off_centre(self, image: Sequence[int]) -> tuple[float, ...]:
        """Return the offset of the centre from that of an image of this size, in pixels.

        >>> UnitGrid((2.0,), (13.0,)).off_centre((28,))
        (-0.5,)
        """
        return tuple(middle - (size - 1) / 2 for middle, size in zip(self.middle, image, strict=True))


def grids(
    reader: Reader, x: Tensor, *, device: str | None = None, precision: Precision = "float32", seed: int = 0
) -> dict[LayerKey, UnitGrid]:
    r"""Return the grid of every layer whose positions can be tracked through one forward pass.

    .. math:: m' = m + \left(\frac{(k - 1)\,d + (n' - 1)\,r - (n - 1)}{2} - p\right) j, \quad j' = r\,j

    for a convolution or pool with kernel k, dilation d, padding p and stride r from n to n' units. Pointwise
    operations, sums of equal sizes, padding, adaptive pools, upsampling and transposed convolutions are
    tracked as well, both as modules and as functions. Layers after any other operation are left out.

    Args:
        reader: a reader of a torch model; other models cannot be tracked.
        x: (sample, C, axis...) a few inputs.
        device, precision, seed: see `Reader.open`.
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
    """Function mode that records the grid of every tensor for which it is known."""

    def __init__(self) -> None:
        super().__init__()
        self.grids: Any = WeakIdKeyDictionary()

    def keep(self, tensor: Tensor, grid: UnitGrid) -> None:
        """Record the grid of a (sample, channel, axis...) tensor."""
        self.grids[tensor] = grid

    def known(self, tensor: Any) -> UnitGrid | None:
        """Return the grid of a tensor; None if unknown."""
        return self.grids.get(tensor) if isinstance(tensor, Tensor) else None

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and record the grid of its output if its effect on positions is known."""
        options = kwargs or {}
        # Recorded together with the sizes before the operation, which may be in place and change them.
        inputs = [(t, tuple(t.shape[2:])) for t in tensors_among([*args, *options.values()]) if self.known(t)]
        result = func(*args, **options)
        output = result[0] if isinstance(result, tuple) and result else result
        if inputs and isinstance(output, Tensor):
            tensor, size = inputs[0]
            done = _Operation(self.grids[tensor], size, tuple(output.shape[2:]), args, options)
            self._follow(followed_name(getattr(func, "__name__", "")), inputs, done, output)
        return result

    def _follow(self, name: str, inputs: list[tuple[Tensor, Any]], done: _Operation, output: Tensor) -> None:
        new: UnitGrid | None = None
        if len(done.after) == len(done.before) and name in POINTWISE:
            whole = {self.grids[t] for t, size in inputs if size == done.after}
            new = whole.pop() if len(whole) == 1 else None
        elif len(done.after) == len(done.before) and name in _STEPS:
            new = _STEPS[name](done)
        if new is None:
            self.grids.pop(output, None)
        else:
            self.keep(output, new)


@dataclass(frozen=True, eq=False)
class _Operation:
    """An operation on a feature map: the grid before it, the sizes before and after it, and its arguments."""

    grid: UnitGrid
    before: tuple[int, ...]
    after: tuple[int, ...]
    args: tuple[Any, ...]
    options: dict[str, Any]

    def given(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the arguments by name."""
        return dict(zip(names, self.args, strict=False)) | self.options

    def slid(self, reach: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> UnitGrid:
        """Return the grid of windows that span `reach` steps, `stride` apart, the first at −`padding`."""
        grid = self.grid
        middles = (
            middle + jump * ((extent + (n_out - 1) * step - (n - 1)) / 2 - pad)
            for middle, jump, n, n_out, extent, step, pad in zip(
                grid.middle, grid.jump, self.before, self.after, reach, stride, padding, strict=True
            )
        )
        jumps = (jump * step for jump, step in zip(grid.jump, stride, strict=True))
        return UnitGrid(tuple(jumps), tuple(middles))


def _convolved(done: _Operation) -> UnitGrid:
    given, axes = done.given(_CONV), len(done.before)
    dilation = per_axis(given.get("dilation", 1), axes)
    reach = [(k - 1) * d for k, d in zip(given["weight"].shape[2:], dilation, strict=True)]
    padding = given.get("padding", 0)
    if isinstance(padding, str):
        padding = tuple(extent // 2 for extent in reach) if padding == "same" else 0
    return done.slid(reach, per_axis(given.get("stride", 1), axes), per_axis(padding, axes))


def _pooled(done: _Operation, names: Sequence[str]) -> UnitGrid:
    given, axes = done.given(names), len(done.before)
    kernel, dilation = per_axis(given["kernel_size"], axes), per_axis(given.get("dilation", 1), axes)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    stride = per_axis(given.get("stride") or kernel, axes)
    return done.slid(reach, stride, per_axis(given.get("padding", 0), axes))


def _transposed(done: _Operation) -> UnitGrid:
    """Return the grid after a transposed convolution.

    Unit i of the input is centred at i·stride − padding + reach/2 of the output."""
    given, grid, axes = done.given(_TRANSPOSED), done.grid, len(done.before)
    stride, padding, dilation = (
        per_axis(given.get(name, default), axes)
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    kernel = given["weight"].shape[2:]
    parts = zip(
        grid.jump, grid.middle, done.before, done.after, kernel, stride, padding, dilation, strict=True
    )
    middles = [
        middle + jump * ((n_out - 1 - (k - 1) * d) / 2 + pad - (n - 1) * step / 2) / step
        for jump, middle, n, n_out, k, step, pad, d in parts
    ]
    return UnitGrid(tuple(j / s for j, s in zip(grid.jump, stride, strict=True)), tuple(middles))


def _spread_evenly(done: _Operation) -> UnitGrid:
    """Return the grid that covers the same extent with a different number of units."""
    parts = zip(done.grid.jump, done.before, done.after, strict=True)
    return UnitGrid(tuple(jump * n / n_out for jump, n, n_out in parts), done.grid.middle)


def _padded(done: _Operation) -> UnitGrid:
    """Return the grid after padding.

    Pads are listed from the last axis to the first, each as (before, after); negative ones crop."""
    grid, axes = done.grid, len(done.before)
    sides = [*(done.options["pad"] if "pad" in done.options else done.args[1]), *(0,) * (2 * axes)]
    pairs = [(sides[2 * k], sides[2 * k + 1]) for k in range(axes)][::-1]
    middles = (
        middle + jump * (behind - ahead) / 2
        for middle, jump, (ahead, behind) in zip(grid.middle, grid.jump, pairs, strict=True)
    )
    return UnitGrid(grid.jump, tuple(middles))


def per_axis(value: Any, axes: int) -> tuple[int, ...]:
    """Return an option of an operation as one entry per axis.

    >>> per_axis(2, 2), per_axis([2], 2), per_axis((1, 3), 2)
    ((2, 2), (2, 2), (1, 3))
    """
    entries = tuple(value) if isinstance(value, list | tuple) else (value,)
    return entries * axes if len(entries) == 1 else entries


_max_pooled, _average_pooled = partial(_pooled, names=_MAX), partial(_pooled, names=_AVERAGE)
_STEPS: dict[str, Callable[[_Operation], UnitGrid]] = {
    **{f"conv{d}d": _convolved for d in (1, 2, 3)},
    **{f"conv_transpose{d}d": _transposed for d in (1, 2, 3)},
    **{f"max_pool{d}d": _max_pooled for d in (1, 2, 3)},
    **{f"max_pool{d}d_with_indices": _max_pooled for d in (1, 2, 3)},
    **{f"avg_pool{d}d": _average_pooled for d in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{d}d": _spread_evenly for kind in ("avg", "max") for d in (1, 2, 3)},
    "interpolate": _spread_evenly,
    "pad": _padded,
}
