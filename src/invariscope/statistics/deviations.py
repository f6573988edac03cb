"""How far responses along an orbit are from what an equivariant representation would give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.actions.feature_actions import FeatureAction, TrivialAction
from invariscope.block import Block, NotApplicableError
from invariscope.statistics.kept.sample_table import SampleStatistic

KINDS = ("latent", "channelwise", "output")
REFERENCES = ("kernel", "twirl")
# What rounding explains, as a share of a response's size (as for dead units), and in a sum over units.
_DOUBLE, _SINGLE, _OF_SUMS = 1e-10, 32 * torch.finfo(torch.float32).eps, 1e-13


@dataclass(frozen=True)
class Deviations(SampleStatistic):
    """Discrepancy of f(g_j x_i) from g_j f̂(x_i), of every sample and element, in float64.

    Columns (sample, element): "sum", over the vectors that have a value, and "count", how many those are;
    "null" and "null_count", the same with f̂ of the sample's partner; "undefined" (sample,) vectors without a
    value, and "rounding" (sample,) the largest discrepancy of one of its vectors that rounding explains. The
    identity element counts for nothing if it is left out.

    Args:
        kind: "latent": one vector a response; "channelwise": one vector a channel; "output": one vector of
            probabilities.
        distance: "cosine" (with a minus sign), "l2", "squared_l2", or "kl".
        reference: "kernel", f̂ the mean over the elements that act as the identity (f(x) where only the
            identity does); "twirl": f̂ = ⟨g⁻¹f(gx)⟩ over all elements.
        exclude_identity: leave out the identity element.
        action: of the elements on the responses.
    """

    paired: ClassVar[bool] = True
    kind: str = "latent"
    distance: str = "cosine"
    reference: str = "kernel"
    exclude_identity: bool = False
    action: FeatureAction = field(default_factory=TrivialAction)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """As the action does."""
        return self.action.moves_positions(layer, axes)

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The discrepancies of each sample of the block."""
        responses, central = self._vectors(block)
        partners = np.full(block.samples, -1) if block.partners is None else block.partners
        other = central(torch.from_numpy(np.maximum(partners, 0)))
        own = central(torch.arange(block.samples))
        left_out = [j for j in block.probes.get("identity", ()) if j < block.elements]
        gone = torch.tensor(left_out, dtype=torch.int64, device=responses.device)
        found = {}
        for name, expected in (("sum", own), ("null", other)):
            values = _DISTANCES[self.distance](responses, expected)
            if self.exclude_identity:
                values = values.index_fill(1, gone, torch.nan)
            defined = values.isfinite()
            found[name] = values.nan_to_num(0, 0, 0).sum(2)
            found["count" if name == "sum" else "null_count"] = defined.sum(2)
        lonely = torch.from_numpy(partners < 0).to(responses.device)
        found["null_count"] = found["null_count"].masked_fill(lonely[:, None], 0)
        found["null"] = found["null"].masked_fill(lonely[:, None], 0)
        kept = responses.shape[1] - (len(left_out) if self.exclude_identity else 0)
        found["undefined"] = kept * responses.shape[2] - found["count"].sum(1)
        found["rounding"] = self._rounding(block, own)
        return found

    def _rounding(self, block: Block, expected: Tensor) -> Tensor:
        """(sample,) what responses that are alike can differ by, in this distance."""
        share = _DOUBLE if block.values.dtype == torch.float64 else _SINGLE
        if self.distance in ("l2", "squared_l2"):
            power = 1 if self.distance == "l2" else 2
            return (share * expected.detach().norm(dim=-1).flatten(1).amax(1)) ** power
        least = max(share**2 / 2, _OF_SUMS)
        return torch.full(expected.shape[:1], least, dtype=torch.float64, device=expected.device)

    def _vectors(self, block: Block) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """(sample, element, vector, unit) responses, and g f̂ of the samples that are asked for."""
        responses = block.orbits()
        if self.kind == "channelwise" and responses.ndim < 5:
            raise NotApplicableError("channels need feature maps (sample, channel, height, width)")
        if self.kind == "output":
            if responses.flatten(2).shape[2] < 2:
                raise NotApplicableError(
                    "probabilities need an output for each class; the model has one output"
                )
            responses = _probabilities(responses.flatten(2).double())
        centre = self._centre(block, responses)

        def expected(samples: Tensor) -> Tensor:
            chosen = centre[samples.to(centre.device)]
            if isinstance(self.action, TrivialAction):  # the same for all elements: one will do
                return self._split(chosen[:, None])
            return self._split(self.action.moved(block, chosen))

        return self._split(responses), expected

    def _split(self, responses: Tensor) -> Tensor:
        """(sample, element, vector, unit) in float64."""
        parts = responses.flatten(3) if self.kind == "channelwise" else responses.flatten(2)[:, :, None]
        return parts.double()

    def _centre(self, block: Block, responses: Tensor) -> Tensor:
        """(sample, unit...) f̂."""
        if self.reference == "twirl":
            return self.action.undone(block).mean(1)
        kernel = self.action.kernel(block)
        if kernel is None:
            return block.probe("identity")[:, 0]
        if kernel.all():
            return responses.mean(1, dtype=torch.float64)
        counts = kernel.sum(1)
        shares = torch.from_numpy(kernel / np.maximum(counts, 1)[:, None]).to(responses.device)
        lone = (1,) * (responses.ndim - 2)
        centre = (responses.double() * shares.view(*shares.shape, *lone)).sum(1)
        if counts.all():
            return centre
        only = torch.from_numpy(counts == 0).to(responses.device).view(-1, *lone)
        return torch.where(only, block.probe("identity")[:, 0].double(), centre)


def _cosine(responses: Tensor, expected: Tensor) -> Tensor:
    """(sample, element, vector) −cos; NaN where a vector is zero."""
    products = (responses * expected).sum(-1)
    lengths = responses.norm(dim=-1) * expected.norm(dim=-1)
    # Never divided by zero, not even where the result is thrown away: a gradient would be NaN there.
    divisor = torch.where(lengths > 0, lengths, 1.0)
    return torch.where(lengths > 0, -products / divisor, torch.nan)


def _squared(responses: Tensor, expected: Tensor) -> Tensor:
    return (responses - expected).square().sum(-1)


def _euclidean(responses: Tensor, expected: Tensor) -> Tensor:
    return (responses - expected).norm(dim=-1)  # unlike a root it has a gradient at 0, which is 0


def _divergence(responses: Tensor, expected: Tensor) -> Tensor:
    """KL(p_g ‖ p̄) in nats; 0·log 0 is 0, and its gradient finite."""
    least = torch.finfo(responses.dtype).tiny
    logs = responses.clamp_min(least).log() - expected.clamp_min(least).log()
    return (responses * logs).sum(-1)


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": _cosine,
    "l2": _euclidean,
    "squared_l2": _squared,
    "kl": _divergence,
}
DISTANCES = tuple(_DISTANCES)


def _probabilities(outputs: Tensor) -> Tensor:
    """(sample, element, class) shares that sum to one: outputs that do so are taken as they are."""
    sums = outputs.sum(-1)
    proper = bool((outputs >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
    return outputs if proper else outputs.softmax(-1)
