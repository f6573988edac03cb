"""How far responses along an orbit are from what an equivariant representation would give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from invariscope.actions.feature_actions import FeatureAction, SpatialAction, TrivialAction
from invariscope.actions.kept_positions import kept_positions
from invariscope.block import Block, NotApplicableError
from invariscope.statistics.counts.prediction_counts import probabilities
from invariscope.statistics.kept.sample_table import SampleStatistic
from invariscope.statistics.probes import Untransformed

OVER = ("latent", "channelwise", "output")
REFERENCES = ("kernel", "twirl")
# What rounding explains, as a share of a response's size (as for dead units), and in a sum over units.
_DOUBLE, _SINGLE, _OF_SUMS = 1e-10, 32 * torch.finfo(torch.float32).eps, 1e-13
_VALUES = 1 << 22  # how many are compared at once: a float64 copy of a whole block would be large


@dataclass(frozen=True)
class Discrepancy(SampleStatistic):
    """d(a(t_j x_i), t_j â(x_i)) of every sample and element, in float64.

    Columns (sample, element): "gap", the sum of d over the vectors that have a value, and "count", how many
    those are; "size", ‖t_j â(x_i)‖, and "units", how many values are compared. "undefined" (sample,) counts
    vectors without a value, "rounding" (sample,) is the largest d that rounding explains. With partners
    "null_gap", "null_count" and "null_size" have â of the sample's partner. Whatever has no value, such as an
    identity that is left out, has a count and a gap of 0.

    Args:
        action: t, of the elements on the responses.
        distance: "l2", "squared_l2", "cosine" (with a minus sign), or "kl".
        over: "latent": one vector per response; "channelwise": one per channel; "output": one of
            probabilities.
        reference: â. "identity": a; "kernel": the mean over the elements that act as the identity (a where
            only the identity does); "twirl": ⟨t⁻¹a(tx)⟩ over all elements.
        mask: leave out units whose content comes from outside the image: "", never; "if_known": if the
            elements have an inverse, which shows them; "always": elements without one are refused.
        partner: whether there are columns of the null.
        exclude_identity: leave out the identity element.
    """

    action: FeatureAction = field(default_factory=SpatialAction)
    distance: str = "l2"
    over: str = "latent"
    reference: str = "identity"
    mask: str = ""
    partner: bool = True
    exclude_identity: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "paired", self.partner)
        of_orbit = self.reference == "kernel" and self._trivial and not self.exclude_identity
        object.__setattr__(self, "reads", () if of_orbit else (Untransformed(),))

    @property
    def _trivial(self) -> bool:
        return isinstance(self.action, TrivialAction)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """As the action does."""
        return self.action.moves_positions(layer, axes)

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The discrepancies of each sample of the block."""
        responses, kept = self._responses(block), self._kept(block)
        centre = self._centre(block, responses)
        found = self._compared(block, responses, centre, kept)
        found["units"] = self._units(responses, kept)
        if self.partner:
            other = self._compared(block, responses, block.of_partners(centre), kept)
            names = ("gap", "count", "size")
            found |= {f"null_{name}": block.if_paired(other[name], 0) for name in names}
        return found

    def _responses(self, block: Block) -> Tensor:
        """(sample, element, unit...) what is compared."""
        responses = block.orbits()
        if self.over == "channelwise" and responses.ndim < 5:
            raise NotApplicableError("channels need feature maps (sample, channel, height, width)")
        if self.over != "output":
            return responses
        if responses.flatten(2).shape[2] < 2:
            raise NotApplicableError("probabilities need an output for each class; the model has one output")
        return probabilities(responses.flatten(2).double())

    def _centre(self, block: Block, responses: Tensor) -> Tensor:
        """(sample, unit...) â, in float64."""
        if self.reference == "twirl":
            return self.action.undone(block).mean(1).double()
        kernel = self.action.kernel(block) if self.reference == "kernel" else None
        if kernel is None:
            return block.rest().double()
        if kernel.all():
            return responses.mean(1, dtype=torch.float64)
        counts = kernel.sum(1)
        shares = torch.from_numpy(kernel / np.maximum(counts, 1)[:, None]).to(responses.device)
        lone = (1,) * (responses.ndim - 2)
        centre = (responses.double() * shares.view(*shares.shape, *lone)).sum(1)
        only = torch.from_numpy(counts == 0).to(responses.device).view(-1, *lone)
        return torch.where(only, block.rest().double(), centre) if not counts.all() else centre

    def _kept(self, block: Block) -> Tensor | None:
        """Flags of the units that t and t⁻¹, in either order, return; None for all."""
        if not self.mask or not self.moves_positions(block.layer, block.values.ndim - 1):
            return None
        try:
            return kept_positions(block, inverse_first=not block.restored)
        except NotApplicableError:  # no inverse
            if self.mask == "always":
                raise
            return None

    def _units(self, responses: Tensor, kept: Tensor | None) -> Tensor:
        """(sample, element) how many values are compared."""
        if kept is None:
            return torch.full(responses.shape[:2], responses[0, 0].numel(), device=responses.device)
        return kept.expand_as(responses).flatten(2).sum(2)

    def _compared(
        self, block: Block, responses: Tensor, centre: Tensor, kept: Tensor | None
    ) -> dict[str, Tensor]:
        """Distances from what the elements make of (sample, unit...) `centre`, the same of each vector."""
        expected = centre[:, None] if self._trivial else self.action.moved(block, centre)
        few, values, norms = max(1, _VALUES // responses[0].numel()), [], []
        for at in (slice(low, low + few) for low in range(0, len(responses), few)):
            own = None if kept is None else kept[at] if len(kept) > 1 else kept
            first, second = (self._vectors(part[at], own) for part in (responses, expected))
            values.append(_DISTANCES[self.distance](first, second))
            norms.append(second.detach().norm(dim=-1))
        return self._summed(block, torch.cat(values), torch.cat(norms))

    def _vectors(self, responses: Tensor, kept: Tensor | None) -> Tensor:
        """(sample, element, vector, unit) in float64."""
        chosen = responses.double() if kept is None else responses.double() * kept
        return chosen.flatten(3) if self.over == "channelwise" else chosen.flatten(2)[:, :, None]

    def _summed(self, block: Block, values: Tensor, norms: Tensor) -> dict[str, Tensor]:
        """The columns, from distances and lengths (sample, element, vector)."""
        left_out = torch.from_numpy(np.flatnonzero(~block.moving if self.exclude_identity else []))
        values = values.index_fill(1, left_out.to(values.device, torch.int64), torch.nan)
        count = values.isfinite().sum(2)
        whole = norms[..., 0] if norms.shape[2] == 1 else norms.norm(dim=2)
        return {
            "gap": values.nan_to_num(0, 0, 0).sum(2),
            "count": count,
            "size": whole.expand(values.shape[:2]),
            "undefined": (values.shape[1] - len(left_out)) * values.shape[2] - count.sum(1),
            "rounding": self._rounding(norms, double=block.values.dtype == torch.float64),
        }

    def _rounding(self, norms: Tensor, *, double: bool) -> Tensor:
        """(sample,) what responses that are alike can differ by, in this distance."""
        share = _DOUBLE if double else _SINGLE
        if self.distance in ("l2", "squared_l2"):
            return (share * norms.flatten(1).amax(1)) ** (1 if self.distance == "l2" else 2)
        return torch.full_like(norms[:, 0, 0], max(share**2 / 2, _OF_SUMS))


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


def squared_distances(values: Tensor, rest: Tensor) -> Tensor:
    """(sample, version) ‖f(x') − f(x)‖² in float64, a sample at a time, which saves memory.

    Args:
        values: (sample, version, unit...) f(x').
        rest: (sample, unit...) f(x).
    """
    rows = [(v - r.double()).flatten(1).square().sum(1) for v, r in zip(values, rest, strict=True)]
    return torch.stack(rows)
