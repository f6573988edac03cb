"""Stability, absolute or relative to noise of equal size, as a training penalty."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from invariscope.block import Block
from invariscope.common.checks import refuse_other
from invariscope.penalties.base import Penalty, PenaltyNeeds, ratio
from invariscope.statistics.probes import EqualNoise, Untransformed

KINDS = ("R", "D")


@dataclass(frozen=True, kw_only=True)
class Stability(Penalty):
    """Change of responses under the transform, relative to that under noise (R) or between samples (D).

    .. math:: R = \\frac{\\langle\\|f(\\tau x) - f(x)\\|^2\\rangle}
        {\\langle\\|f(x + \\eta) - f(x)\\|^2\\rangle}, \\qquad
        D = \\frac{\\langle\\|f(\\tau x) - f(x)\\|^2\\rangle}{\\langle\\|f(x) - f(z)\\|^2\\rangle}

    The R and D of the measure `Stability` with its default options, for one batch. Each sample is forwarded
    untransformed and once per element. For R, it is also forwarded once per element with isotropic noise
    whose norm is that of the element's displacement. The identity element is left out.

    Caveats: the penalty can decrease without stability, R if the network becomes more sensitive to noise, and
    D if the responses of different samples move further apart. `fixed_denominator` removes the gradient of
    the denominator, but this gradient also keeps responses from shrinking.

    Args:
        transform, layers, output, elements, seed: see `Penalty`; the identity is never drawn.
        kind: "R" or "D".
        fixed_denominator: treat the denominator as a constant in the gradient.

    Source:
        Petrini et al. 2021, arXiv:2105.02468, eq. 2 to 4.

    >>> import torch
    >>> from invariscope.transforms import Diffeomorphism
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    >>> penalty = Stability(Diffeomorphism(2, delta_px=0.6), layers="1")
    >>> bool(penalty(model, torch.rand(4, 1, 8, 8), step=0) > 0)
    True
    """

    kind: str = "R"
    fixed_denominator: bool = False

    def _validate(self) -> None:
        refuse_other(self, kind=KINDS)

    @property
    def _needs(self) -> PenaltyNeeds:
        probes = (Untransformed(), EqualNoise()) if self.kind == "R" else (Untransformed(),)
        return PenaltyNeeds(1, probes, without_identity=True)

    def _value(self, block: Block) -> Tensor:
        rest = block.probe("identity")[:, 0].flatten(1).double()
        moved = _gaps(block.orbits(), rest, block)
        if self.kind == "R":
            below = _gaps(block.probe(EqualNoise().name), rest, block)
        else:  # the mean over all pairs of different samples is twice the variance
            below = 2 * rest.var(dim=0).sum()
        return ratio(moved, below, fixed=self.fixed_denominator)


def _gaps(versions: Tensor, rest: Tensor, block: Block) -> Tensor:
    """Return the mean ‖f(x') − f(x)‖² over responses (sample, version, unit...) except the identity's."""
    moving = [j for j in range(block.elements) if j not in block.probes["identity"]]
    return (versions[:, moving].flatten(2).double() - rest[:, None]).square().sum(dim=2).mean()
