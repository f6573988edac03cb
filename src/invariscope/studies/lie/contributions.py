"""What each layer adds to the Lie derivative of a network's output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from invariscope.anatomy.layer_gradients import Trace
from invariscope.generators import Derivatives, Generator


@dataclass(frozen=True, eq=False)
class Contributions:
    """Products of directions v in output space with L f, and with what each layer adds to it.

    Args:
        terms: (sample, generator, layer, direction), a layer for each passage of the trace, and behind them
            what no passage accounts for; they add up over layers to `whole`.
        whole: (sample, generator, direction).
    """

    terms: Tensor
    whole: Tensor


def contributions(
    trace: Trace, flows: Sequence[Generator], directions: Iterable[Tensor], *, interpolation: str
) -> Contributions:
    r"""Every layer's part in the Lie derivative of the output.

    .. math:: \langle v, L_X f \rangle = \sum_k \langle v, df_{N:k+1}\, L_X f_k \rangle
        = \sum_k \langle g_{in,k}, X a_{in,k} \rangle - \langle g_{out,k}, X a_{out,k} \rangle

    for the gradients g of ⟨v, f⟩ with respect to what enters and leaves layer k; that of an input counts only
    what passes through this layer.

    Args:
        trace: a forward.
        flows: the generators X.
        directions: v, each of the shape of the output.
        interpolation: of the input and of feature maps.
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
    """A tensor through which a layer's responses pass.

    Args:
        layer: number of the passage; −1 for the model's own input and output.
        sign: 1 for what goes in, −1 for what comes out.
        moves: (sample, generator, value) X of the tensor; 0 where it should stay as it is.
    """

    tensor: Tensor
    layer: int
    sign: int
    moves: Tensor

    def product(self, gradient: Tensor) -> Tensor:
        """(sample, generator) ± ⟨g, X a⟩."""
        return self.sign * (gradient.flatten(1)[:, None] @ self.moves.mT).squeeze(1)


def _taps(trace: Trace, flows: Sequence[Generator], interpolation: str) -> Iterator[_Tap]:
    """Wherever something should move."""
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
