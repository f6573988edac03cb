"""Normalized variance as a training penalty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.checks import refuse_other
from invariscope.penalties.base import Penalty, PenaltyNeeds, ratio

AVERAGES = ("ratio", "units")


@dataclass(frozen=True, kw_only=True)
class NormalizedVariance(Penalty):
    """Variance along orbits relative to variance across samples: 0 for invariant layers.

    .. math:: P = \\frac{\\sum_u TV_u}{\\sum_u SV_u} \\quad \\text{or} \\quad
        \\Big\\langle \\frac{TV_u}{SV_u} \\Big\\rangle_u, \\qquad
        TV_u = \\langle \\mathrm{Var}_j\\, a_u(t_j x_i) \\rangle_i, \\quad
        SV_u = \\langle \\mathrm{Var}_i\\, a_u(t_j x_i) \\rangle_j

    These are `value_ratio` and `value` of `iv.measure` for the same inputs. As in the measure, dead units are
    left out, and the mean of ratios also leaves out sparse units and those that do not vary across samples.

    Caveats: the penalty can decrease without invariance, through more variance across samples (such as a few
    units that follow the total brightness and that the rest of the network ignores), or through units that
    die or fire too rarely to count. `fixed_denominator` removes the gradient of SV; the gradient that remains
    shrinks the activations, and so keeps changing the weights without lowering the value. BatchNorm in
    training mode takes its statistics from the orbits. Dropout counts as variance along orbits. Only the
    task's own loss keeps a layer informative.

    Args:
        transform, layers, output, elements, seed: see `Penalty`.
        average: "ratio", the ratio of the layer's sums, or "units", the mean of the units' ratios, whose
            gradient is dominated by the units that vary least across samples.
        fixed_denominator: treat SV as a constant in the gradient.
        min_firing: for average="units", as in the measure.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, for TV and SV.

    >>> from invariscope.transforms import QuarterTurns
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 2))
    >>> loss = NormalizedVariance(QuarterTurns(), layers="1")(model, torch.rand(4, 1, 3, 3))
    >>> loss.backward()
    >>> model[1].weight.grad.shape
    torch.Size([2, 9])
    """

    average: str = "ratio"
    fixed_denominator: bool = False
    min_firing: int = 20

    def _validate(self) -> None:
        refuse_other(self, average=AVERAGES)

    @property
    def _needs(self) -> PenaltyNeeds:
        return PenaltyNeeds(fewest=2)

    def _value(self, block: Block) -> Tensor:
        orbits = block.orbits().flatten(2)
        along, across = _variance(orbits, 1), _variance(orbits, 0)
        with torch.no_grad():
            threshold = _threshold(orbits)
            still = across <= threshold
            dead = still & (along <= threshold)
            sparse = self._sparse(orbits, threshold)
        fixed = self.fixed_denominator
        if self.average == "ratio":
            return ratio(along[~dead].sum(), across[~dead].sum(), fixed=fixed)
        counted = ~still & ~sparse
        shares = ratio(along[counted], across[counted], fixed=fixed)
        return shares.sum() / max(int(counted.sum()), 1)

    def _sparse(self, orbits: Tensor, threshold: Tensor) -> Tensor:
        # If a unit has a usual response, most samples produce it, so it is the median.
        unusual = (orbits - orbits.median(dim=0).values).abs() > threshold.sqrt()
        return unusual.any(dim=1).sum(dim=0) < min(self.min_firing, len(orbits) / 4)


def _variance(orbits: Tensor, axis: int) -> Tensor:
    """Return the variance (unit,) along one axis of (sample, element, unit), averaged over the other."""
    count = orbits.shape[axis]
    squares = (orbits - orbits.mean(dim=axis, keepdim=True)).square()
    return squares.sum(dim=(0, 1)) / (orbits.shape[1 - axis] * (count - 1))


def _threshold(orbits: Tensor) -> Tensor:
    """Return the variance (unit,) below which values differ by rounding only, as in the measure."""
    tiny = 1e-10 if orbits.dtype == torch.float64 else 32 * torch.finfo(torch.float32).eps
    squares = orbits.square().mean(dim=(0, 1))
    return tiny**2 * torch.maximum(squares, 1e-6 * squares.mean())
