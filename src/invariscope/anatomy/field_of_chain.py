"""Receptive fields by arithmetic, for chains of convolutions, pools and pointwise modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation, batchnorm, conv, dropout, padding, pooling

from invariscope.anatomy.grids import per_axis
from invariscope.anatomy.partial_forward import up_to
from invariscope.readers.threads import in_this_thread
from invariscope.readers.torch.copies import home, uncompiled

_POINTWISE = (nn.Identity, nn.ChannelShuffle, nn.LocalResponseNorm, nn.Softmax2d)
_POINTWISE_BASES = (batchnorm._BatchNorm, dropout._DropoutNd)
# Activations that mix positions, or may do so, depending on their options.
_MIXING = (nn.MultiheadAttention, nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.GLU)
_POOLS = (pooling._MaxPoolNd, pooling._AvgPoolNd)
_PADS = (
    padding._ConstantPadNd,
    padding._ReflectionPadNd,
    padding._ReplicationPadNd,
    padding._CircularPadNd,
)


@dataclass(frozen=True)
class AxisWindow:
    """The window of unit 0 along one axis, and the distance to the next unit's window."""

    size: int = 1
    jump: int = 1
    centre: float = 0.0

    def through(self, kernel: int, stride: int, dilation: int, before: int) -> AxisWindow:
        """Return the window of a unit that reads `kernel` of these units; the first `before` are padding."""
        reach = (kernel - 1) * dilation
        return AxisWindow(
            self.size + reach * self.jump, self.jump * stride, self.centre + (reach / 2 - before) * self.jump
        )


_Axes = tuple[AxisWindow, ...]


def of_chain(model: nn.Module, layer: str, input_shape: Sequence[int]) -> _Axes | None:
    """Return the windows of a layer; None if the model up to it is not a chain of known modules."""
    chain = _Chain(len(input_shape) - 1)
    inner = uncompiled(model)
    with up_to(model, layer) as run, torch.no_grad():
        weight = next((p for p in inner.parameters() if p.is_floating_point()), None)
        dtype = torch.float32 if weight is None else weight.dtype
        x = torch.zeros(1, *input_shape, dtype=dtype, device=home(inner))
        leaves = [module for module in inner.modules() if not any(module.children())]
        handles = [handle for leaf in leaves for handle in chain.hooks(leaf)]
        try:
            chain.keep(x, (AxisWindow(),) * chain.axes)
            output = run(x)
        finally:
            for handle in handles:
                handle.remove()
    if output.ndim != len(input_shape) + 1:
        raise flat(layer, output)
    return chain.known(output)


def flat(layer: str, output: Tensor) -> ValueError:
    """Return the error for a layer whose units do not have positions in the image."""
    return ValueError(
        f"layer {layer!r} has no receptive field: its output of shape {tuple(output.shape[1:])} per input "
        "has no positions. Name a layer with feature maps."
    )


class _Chain:
    """Windows of the tensors in a forward pass; a tensor that is later written to in place is forgotten."""

    def __init__(self, axes: int) -> None:
        self.axes = axes
        self.seen: dict[int, tuple[Tensor, int, _Axes]] = {}
        self.entered: list[_Axes | None] = []

    def keep(self, tensor: Tensor, axes: _Axes) -> None:
        """Record a tensor's windows, and keep the tensor so that its id stays valid."""
        self.seen[id(tensor)] = (tensor, tensor._version, axes)

    def known(self, tensor: Any) -> _Axes | None:
        """Return the windows of a tensor's units; None if unknown."""
        found = self.seen.get(id(tensor))
        return found[2] if found is not None and found[1] == found[0]._version else None

    def hooks(self, leaf: nn.Module) -> tuple[Any, Any]:
        """Register hooks before and after a leaf, which may overwrite its input."""
        return (
            leaf.register_forward_pre_hook(in_this_thread(self._enter)),
            leaf.register_forward_hook(in_this_thread(self._leave), prepend=True),
        )

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.entered.append(self.known(args[0]) if len(args) == 1 else None)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        axes = self.entered.pop()
        if axes is not None and isinstance(output, Tensor):
            after = _after(module, axes)
            if after is not None:
                self.keep(output, after)


def _after(module: nn.Module, axes: _Axes) -> _Axes | None:
    """Return the windows after a module; None if the module is unknown."""
    if not type(module).__module__.startswith("torch.nn.modules."):
        return None  # the `forward` of a subclass may do something else
    is_activation = type(module).__module__ == activation.__name__ and not isinstance(module, _MIXING)
    if is_activation or isinstance(module, (*_POINTWISE, *_POINTWISE_BASES)):
        return axes
    windows = _windows(module, len(axes))
    if windows is None or len(windows) != len(axes):
        return None
    return tuple(axis.through(*window) for axis, window in zip(axes, windows, strict=True))


def _windows(module: nn.Module, axes: int) -> list[tuple[int, int, int, int]] | None:
    """Return (kernel, stride, dilation, padding before) per axis; None for other modules."""
    if isinstance(module, conv._ConvNd) and not module.transposed:
        parts = (module.kernel_size, module.stride, module.dilation, _padding_before(module))
    elif isinstance(module, _POOLS):
        own: Any = module
        parts = (own.kernel_size, own.stride, getattr(own, "dilation", 1), own.padding)
    elif isinstance(module, _PADS):
        parts = (1, 1, 1, tuple(module.padding)[::2][::-1])  # type: ignore[arg-type]
    else:
        return None
    return list(zip(*(per_axis(part, axes) for part in parts), strict=True))  # type: ignore[arg-type]


def _padding_before(module: conv._ConvNd) -> tuple[int, ...]:
    if module.padding == "same":
        return tuple(d * (k - 1) // 2 for d, k in zip(module.dilation, module.kernel_size, strict=True))
    return (0,) * len(module.kernel_size) if module.padding == "valid" else tuple(module.padding)  # type: ignore[arg-type]
