"""Track through a forward pass which axis of a feature map holds the channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from invariscope.readers.torch.functions import POINTWISE, followed_name, tensors_among

Layout: TypeAlias = tuple[int, ...]
"""Positions of an image's axes (channel, row, column...) in a tensor; () if it is only known that features
come last."""

UNCLEAR: Layout = ()
_MAP = 4  # number of axes of the smallest map, including samples

# Operations that take and return (sample, channel, axis...).
_FIRST = {
    f"{kind}{d}d" for d in (2, 3) for kind in ("conv", "conv_transpose", "max_pool", "avg_pool", "lp_pool")
}
_FIRST |= {f"adaptive_{kind}_pool{d}d" for d in (2, 3) for kind in ("avg", "max")}
_FIRST |= {f"{name}_with_indices" for name in _FIRST if "max" in name}
_FIRST |= {"batch_norm", "instance_norm", "group_norm", "interpolate", "pixel_shuffle", "pixel_unshuffle"}
_PERMUTING = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}
# Operations that may change sizes, but not the meaning of axes.
_KEEPING = {"cat", "roll", "flip", "pad", "chunk", "split", "tensor_split", "narrow"}
_RESHAPING = {"view", "reshape", "view_as", "reshape_as", "unflatten", "expand"}
_NORMS = {"layer_norm", "rms_norm"}


class Layouts(TorchFunctionMode):
    """Function mode that records the layout of every tensor with four or more axes, if known.

    Convolutions, pooling and channel normalisation return maps with channels first. Permutations move the
    axes, and operations that keep a tensor's shape keep its layout. So do linear layers, if the channels are
    on the last axis. If the layout is unknown, linear layers and normalisation over the last axis show that
    features come last.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known: Any = WeakIdKeyDictionary()

    def begin(self, x: Any) -> None:
        """Record the layout of images (sample, C, H, W), which must have fewer channels than columns."""
        if isinstance(x, Tensor) and x.ndim >= _MAP and x.shape[1] < x.shape[-1]:
            self._known[x] = _first(x)

    def of(self, tensor: Tensor) -> Layout | None:
        """Return the layout of a tensor; None if unknown."""
        return self._known.get(tensor)

    def channels_last(self, tensor: Tensor) -> bool:
        """Return whether the layout is (sample, row, column..., channel)."""
        return self.of(tensor) == (tensor.ndim - 1, *range(1, tensor.ndim - 1))

    def unclear(self, tensor: Tensor) -> bool:
        """Return whether all that is known of a layout is that features come last."""
        return self.of(tensor) == UNCLEAR

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and record the layouts of its results."""
        options = kwargs or {}
        result = func(*args, **options)
        name = getattr(func, "__name__", "")
        for output in tensors_among([result]):
            if output.ndim >= _MAP:
                self._note(output, self._made(followed_name(name), func, args, options, output))
        return result

    def _note(self, tensor: Tensor, layout: Layout | None) -> None:
        if layout is None:
            self._known.pop(tensor, None)
        else:
            self._known[tensor] = layout

    def _made(
        self, name: str, func: Any, args: tuple[Any, ...], options: dict[str, Any], output: Tensor
    ) -> Layout | None:
        if name in _FIRST:
            return _first(output)
        inputs = list(tensors_among([*args, *options.values()]))
        before = inputs[0] if inputs else output
        known = self.of(before)
        if name in _PERMUTING:
            return _permuted(func, args, options, known) if known else None
        if name == "linear" or (name == "matmul" and inputs[-1].ndim == 2):
            return _mixed(before, known) if name == "linear" or known else None
        if name in _NORMS and known is None and before.ndim >= _MAP:
            over = options["normalized_shape"] if "normalized_shape" in options else args[1]
            return UNCLEAR if len(over) == 1 else None
        if name in _KEEPING or (name == "getitem" and _only_slices(args[1])):
            return self._common(t for t in inputs if t.ndim == output.ndim)
        if name in POINTWISE or name in _RESHAPING:
            return self._common(t for t in inputs if t.shape == output.shape)
        return None

    def _common(self, inputs: Iterator[Tensor]) -> Layout | None:
        """Return the layout that the inputs share; a known one takes precedence over an unclear one."""
        found = {layout for tensor in inputs if (layout := self.of(tensor)) is not None}
        whole = found - {UNCLEAR}
        if len(whole) > 1:
            return None
        return next(iter(whole or found), None)


def _first(tensor: Tensor) -> Layout:
    return tuple(range(1, tensor.ndim))


def _mixed(before: Tensor, known: Layout | None) -> Layout | None:
    """Return the layout after an operation that mixes the last axis."""
    if known is None:
        return UNCLEAR
    return known if not known or known[0] == before.ndim - 1 else None


def _permuted(func: Any, args: tuple[Any, ...], options: dict[str, Any], known: Layout) -> Layout | None:
    """Return the layout after a permutation, found by applying it to a tensor whose sizes all differ."""
    if not args:
        return None
    sizes = tuple(range(2, 2 + args[0].ndim))
    moved = func(torch.empty(sizes, device="meta"), *args[1:], **options).shape
    return tuple(moved.index(sizes[axis]) for axis in known)


def _only_slices(index: Any) -> bool:
    entries = index if isinstance(index, tuple) else (index,)
    return all(entry is Ellipsis or isinstance(entry, slice) for entry in entries)
