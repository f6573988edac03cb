"""Contribution of each layer to the Lie derivative of a network's output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from invariscope.anatomy.layer_gradients import Trace
from invariscope.generators import Derivatives, Generator


@dataclass(frozen=True, eq=False)
class Contributions:
    """Products of directions v in output space with L f and with each layer's contribution.

    Args:
        terms: (sample, generator, layer, direction), one layer per passage of the trace, then the remainder;
            the sum over layers is `whole`.
        whole: (sample, generator, direction).
    """

    terms: Tensor
    whole: Tensor


def contributions(
    trace: Trace, flows: Sequence[Generator], directions: Iterable[Tensor], *, interpolation: str
) -> Contributions:
    r"""Return the contribution of every layer to the Lie derivative of the output.

    .. math:: \langle v, L_X f \rangle = \sum_k \langle v, df_{N:k+1}\, L_X f_k \rangle
        = \sum_k \langle g_{in,k}, X a_{in,k} \rangle - \langle g_{out,k}, X a_{out,k} \rangle

    The g are gradients of ⟨v, f⟩ with respect to the inputs and outputs of layer k; for an input, only paths
    through this layer count.

    Args:
        trace: the trace of one forward pass.
        flows: the generators X.
        directions: v, each with the shape of the output.
        interpolation: interpolation of input and feature maps.
    """
    taps = list(_taps(trace, flows, interpolation))
    tensors, layers = [tap.tensor for tap in taps], len(trace.passages)
    found = []
    for direction in directions:
        gradients = torch.autograd.grad(
            trace.output, tensors, direction, retain_graph=True, allow_unused=True
        )
        sums = trace.x.new_zeros(len(trace.x), len(flows), layers + 1)
        for tap, gradient in zip(taps, gradients, strict=True):
            if gradient is not None:
                sums[:, :, tap.layer] += tap.product(gradient)
        found.append(sums)
    parts = torch.stack(found, dim=3)
    whole = parts[:, :, -1]
    rest = whole[:, :, None] - parts[:, :, :-1].sum(2, keepdim=True)
    return Contributions(torch.cat([parts[:, :, :-1], rest], dim=2), whole)


@dataclass(frozen=True, eq=False)
class _Tap:
    """An input or output tensor of a layer.

    Args:
        layer: number of the passage; −1 for input and output of the model.
        sign: 1 for inputs, −1 for outputs.
        moves: (sample, generator, value) X applied to the tensor; 0 for tensors that should stay unchanged.
    """

    tensor: Tensor
    layer: int
    sign: int
    moves: Tensor

    def product(self, gradient: Tensor) -> Tensor:
        """Return ± ⟨g, X a⟩, (sample, generator)."""
        return self.sign * (gradient.flatten(1)[:, None] @ self.moves.mT).squeeze(1)


def _taps(trace: Trace, flows: Sequence[Generator], interpolation: str) -> Iterator[_Tap]:
    """Yield the tensors that should change under some generator."""
    places = [(trace.x, -1, 1, True), (trace.output, -1, -1, False)]
    for number, passage in enumerate(trace.passages):
        places += [(t, number, 1, first) for t, first in zip(passage.inputs, passage.first, strict=True)]
        places += [(tensor, number, -1, False) for tensor in passage.outputs]
    size = (trace.x.shape[-2], trace.x.shape[-1])
    for tensor, layer, sign, first in places:
        if tensor.ndim != 4 or len(tensor) != len(trace.x):
            continue
        at = Derivatives(tensor.detach(), interpolation)
        moves = tensor.new_zeros(len(tensor), len(flows), tensor[0].numel())
        for number, flow in enumerate(flows):
            if first or flow.moves_maps:
                moves[:, number] = flow.tangent(at, input_size=size).flatten(1)
        yield _Tap(tensor, layer, sign, moves)
