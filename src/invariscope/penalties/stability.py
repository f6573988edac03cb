"""Stability, absolute or relative to noise of equal size, as a training penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from invariscope.block import Block
from invariscope.common.registry import unknown
from invariscope.penalties.base import Penalty, ratio
from invariscope.statistics.probes import EqualNoise, Probe, Untransformed

KINDS = ("R", "D")


@dataclass(frozen=True, kw_only=True)
class Stability(Penalty):
    """How far the transformation moves responses, relative to noise (R) or to other samples (D).

    .. math:: R = \\frac{\\langle\\|f(\\tau x) - f(x)\\|^2\\rangle}
        {\\langle\\|f(x + \\eta) - f(x)\\|^2\\rangle}, \\qquad
        D = \\frac{\\langle\\|f(\\tau x) - f(x)\\|^2\\rangle}{\\langle\\|f(x) - f(z)\\|^2\\rangle}

    The R and D of the measure `Stability` with its default options, of one batch. For R each sample is
    forwarded once as it is, once an element, and once more an element with isotropic noise of that
    element's displacement; for D without the noise. The identity element counts for nothing.

    Caveats: the penalty can fall without the network becoming more stable: R if noise moves the responses
    more, D if samples lie further apart. `fixed_denominator` removes that gradient, and with it what keeps
    responses from shrinking.

    Args:
        transform, layers, output, elements, seed: see `Penalty`; the identity is never among the drawn
            elements.
        kind: "R", or "D".
        fixed_denominator: the denominator counts as a constant in the gradient.

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
        if self.kind not in KINDS:
            raise unknown("kind", str(self.kind), KINDS)

    @property
    def _probes(self) -> tuple[Probe, ...]:
        return (Untransformed(), EqualNoise()) if self.kind == "R" else (Untransformed(),)

    @property
    def _fewest(self) -> int:
        return 1

    @property
    def _candidates(self) -> Sequence[int]:
        return [j for j in range(len(self.transform)) if j != self.transform.identity]

    @property
    def _of_output(self) -> bool:
        return False

    def _value(self, block: Block) -> Tensor:
        rest = block.probe("identity")[:, 0].flatten(1).double()
        moved = _gaps(block.orbits(), rest, block)
        if self.kind == "R":
            below = _gaps(block.probe(EqualNoise().name), rest, block)
        else:  # over all pairs of different samples: twice the variance
            below = 2 * rest.var(dim=0).sum()
        return ratio(moved, below, fixed=self.fixed_denominator)


def _gaps(versions: Tensor, rest: Tensor, block: Block) -> Tensor:
    """Mean ‖f(x') − f(x)‖² over (sample, version, unit...) responses, the identity's left out."""
    moving = [j for j in range(block.elements) if j not in block.probes["identity"]]
    return (versions[:, moving].flatten(2).double() - rest[:, None]).square().sum(dim=2).mean()
