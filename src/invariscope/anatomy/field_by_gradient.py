"""Receptive fields of any model, from the non-zero gradients of its units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from invariscope.anatomy.field_of_chain import AxisWindow, flat
from invariscope.anatomy.partial_forward import up_to
from invariscope.readers.torch.copies import place

_LARGEST = 512


def by_gradient(model: nn.Module, layer: str, input_shape: Sequence[int]) -> tuple[AxisWindow, ...]:
    """Return a layer's receptive-field windows, found from three adjacent units on a large enough input.

    Raises:
        ValueError: a layer without positions, with units that see the whole image, or with unequal windows.
    """
    copied = place(model, device="cpu", precision="float64").model
    _make_positive(copied)
    with up_to(copied, layer) as run:
        sizes = list(input_shape[1:])
        largest = max(_LARGEST, 4 * max(sizes))
        while max(sizes) <= largest:
            found = _windows(run, layer, (input_shape[0], *sizes), given=sizes == list(input_shape[1:]))
            if found is not None:
                return tuple(_regular(layer, *axis) for axis in found)
            sizes = [2 * size for size in sizes]
    raise ValueError(
        f"layer {layer!r} has no receptive field: its units see the whole image (tested up to "
        f"{max(sizes) // 2} pixels). Name an earlier layer."
    )


def _make_positive(model: nn.Module) -> None:
    """Make all weights positive and divide them by the fan-in, so that responses stay near 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                fan = max(1, weight[0].numel())
                weight.copy_((0.5 + torch.rand(weight.shape, generator=generator, dtype=weight.dtype)) / fan)
            else:
                weight.fill_(0.0 if name.rpartition(".")[2] == "bias" else 1.0)
        for name, buffer in model.named_buffers():
            if name.rpartition(".")[2] in ("running_mean", "running_var"):
                buffer.fill_(float(name.endswith("var")))


def _windows(
    run: Callable[[Tensor], Tensor], layer: str, shape: tuple[int, ...], *, given: bool
) -> list[tuple[int, list[tuple[int, int]]]] | None:
    """Return, per axis, a unit's position and the spans that three units see; None if one is cut off."""
    generator = torch.Generator().manual_seed(1)
    x = 0.5 + torch.rand(1, *shape, generator=generator, dtype=torch.float64)
    try:
        with torch.enable_grad(), _Spread():
            output = run(x.requires_grad_())
    except Exception as error:
        if given:
            raise
        raise ValueError(
            f"the units of layer {layer!r} see the edge of the image; finding their windows needs a larger "
            f"image, on which the model fails: {error}"
        ) from error
    if output.ndim != len(shape) + 1:
        raise flat(layer, output)
    middle = [size // 2 for size in output.shape[2:]]
    if min(output.shape[2:]) < 3:
        return None
    spans = [_spans(x, output, tuple(place + step for place in middle), layer) for step in (-1, 0, 1)]
    per_axis = [[span[axis] for span in spans] for axis in range(len(middle))]
    inside = (lo > 0 and hi < shape[1 + axis] - 1 for axis, own in enumerate(per_axis) for lo, hi in own)
    return list(zip(middle, per_axis, strict=True)) if all(inside) else None


def _spans(x: Tensor, output: Tensor, unit: tuple[int, ...], layer: str) -> list[tuple[int, int]]:
    """Return, per axis, the first and the last pixel that a unit depends on."""
    response = output[(0, slice(None), *unit)].sum()
    (gradient,) = torch.autograd.grad(response, x, retain_graph=True, allow_unused=True)
    seen = torch.zeros(x.shape[2:]) if gradient is None else gradient[0].abs().sum(dim=0)
    pixels = seen.nonzero()
    if len(pixels) == 0:
        raise ValueError(
            f"layer {layer!r} has no gradient with respect to the input: its forward pass is not "
            "differentiable"
        )
    first, last = pixels.amin(dim=0).tolist(), pixels.amax(dim=0).tolist()
    return list(zip(first, last, strict=True))


def _regular(layer: str, middle: int, spans: list[tuple[int, int]]) -> AxisWindow:
    sizes = {last - first + 1 for first, last in spans}
    jumps = {after[0] - before[0] for before, after in itertools.pairwise(spans)}
    if len(sizes) > 1 or len(jumps) > 1:
        raise ValueError(
            f"the units of layer {layer!r} have no common receptive field: three adjacent units see pixels "
            f"{', '.join(f'{lo} to {hi}' for lo, hi in spans)}. Name a layer before the upsampling or "
            "adaptive pooling."
        )
    jump = jumps.pop()
    return AxisWindow(sizes.pop(), jump, sum(spans[1]) / 2 - middle * jump)


class _Spread(TorchFunctionMode):
    """Function mode that replaces maxima by means and removes clipping, so that all inputs get gradients."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, or its replacement."""
        options = kwargs or {}
        name = getattr(func, "__name__", "").rstrip("_")
        if name in ("max_pool1d", "max_pool2d", "max_pool3d"):
            return _mean_pool(*args, **options)
        if name in ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d"):
            return getattr(F, name.replace("max", "avg"))(*args[:2])
        if name == "amax":
            return torch.mean(*args, **options)
        if name in ("hardtanh", "relu6", "hardsigmoid"):
            return args[0] + 0.0
        return func(*args, **options)


def _mean_pool(
    x: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Average the windows of a max pool, keeping its output shape."""
    axes = x.ndim - 2
    kernel = (kernel_size,) * axes if isinstance(kernel_size, int) else tuple(kernel_size)
    pool = getattr(F, f"max_pool{axes}d")
    with torch._C.DisableTorchFunction():
        largest, indices = pool(
            x, kernel, stride or None, padding, dilation, ceil_mode=ceil_mode, return_indices=True
        )
        ones = x.new_full((x.shape[1], 1, *kernel), 1.0 / torch.Size(kernel).numel())
        convolve = getattr(F, f"conv{axes}d")
        mean = convolve(x, ones, None, stride or kernel, padding, dilation, x.shape[1])
        missing = [(0, full - own) for full, own in zip(largest.shape[2:], mean.shape[2:], strict=True)]
        mean = F.pad(mean, [side for pair in reversed(missing) for side in pair])
    return (mean, indices) if return_indices else mean
