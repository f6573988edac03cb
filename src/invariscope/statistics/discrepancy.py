"""Distances between the responses along an orbit and those that an equivariant layer would give."""

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
# Relative size of rounding errors: of float64 and float32 responses (as for dead units), and of sums over
# units.
_DOUBLE, _SINGLE, _OF_SUMS = 1e-10, 32 * torch.finfo(torch.float32).eps, 1e-13
_VALUES = 1 << 22  # number of values compared at once: a float64 copy of a whole block would be large


@dataclass(frozen=True)
class Discrepancy(SampleStatistic):
    """The distance d(a(t_j x_i), t_j â(x_i)) for every sample and element, in float64.

    Columns (sample, element): "gap", the sum of d over the vectors for which it is defined, and "count",
    their number; "size", ‖t_j â(x_i)‖, and "units", the number of values compared. "undefined" (sample,)
    counts vectors with undefined d; "rounding" (sample,) is the largest d that rounding can cause. With
    partners, "null_gap", "null_count" and "null_size" use â of the sample's partner. Undefined entries, such
    as an excluded identity, have a count and a gap of 0.

    Args:
        action: action t of the elements on the responses.
        distance: "l2", "squared_l2", "cosine" (with a minus sign), or "kl".
        over: "latent": one vector per response; "channelwise": one per channel; "output": one vector of
            probabilities.
        reference: â. "identity": a; "kernel": the mean over the elements that act as the identity (a if only
            the identity does); "twirl": ⟨t⁻¹a(tx)⟩ over all elements.
        mask: when to leave out units whose content comes from outside the image. "": never; "if_known": if
            the elements have an inverse, which reveals such units; "always": an inverse is required.
        partner: whether to add the columns of the null.
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
        """Return whether the action moves positions."""
        return self.action.moves_positions(layer, axes)

    def alike(self, layer: str, other: str) -> bool:
        """Return whether the action is the same on both layers."""
        return self.action.alike(layer, other)

    def rows(self, block: Block) -> dict[str, Tensor]:
        """Return the discrepancies per sample of the block."""
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
        """Return the (sample, element, unit...) responses to compare."""
        responses = block.orbits()
        if self.over == "channelwise" and responses.ndim < 5:
            raise NotApplicableError("kind='channelwise' needs feature maps (sample, channel, height, width)")
        if self.over != "output":
            return responses
        if responses.flatten(2).shape[2] < 2:
            raise NotApplicableError("probabilities need one output per class; the model has a single output")
        return probabilities(responses.flatten(2).double())

    def _centre(self, block: Block, responses: Tensor) -> Tensor:
        """Return (sample, unit...) â in float64."""
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
        """Return a mask of the units that t and t⁻¹, in either order, return to their place; None for all."""
        if not self.mask or not self.moves_positions(block.layer, block.values.ndim - 1):
            return None
        try:
            return kept_positions(block, inverse_first=not block.restored)
        except NotApplicableError:  # no inverse
            if self.mask == "always":
                raise
            return None

    def _units(self, responses: Tensor, kept: Tensor | None) -> Tensor:
        """Return the (sample, element) number of values compared."""
        if kept is None:
            return torch.full(responses.shape[:2], responses[0, 0].numel(), device=responses.device)
        return kept.expand_as(responses).flatten(2).sum(2)

    def _compared(
        self, block: Block, responses: Tensor, centre: Tensor, kept: Tensor | None
    ) -> dict[str, Tensor]:
        """Return the columns for responses compared with the action applied to `centre` (sample, unit...)."""
        expected = centre[:, None] if self._trivial else self.action.moved(block, centre)
        few, values, norms = max(1, _VALUES // responses[0].numel()), [], []
        for at in (slice(low, low + few) for low in range(0, len(responses), few)):
            own = None if kept is None else kept[at] if len(kept) > 1 else kept
            first, second = (self._vectors(part[at], own) for part in (responses, expected))
            values.append(_DISTANCES[self.distance](first, second))
            norms.append(second.detach().norm(dim=-1))
        return self._summed(block, torch.cat(values), torch.cat(norms))

    def _vectors(self, responses: Tensor, kept: Tensor | None) -> Tensor:
        """Return (sample, element, vector, unit) in float64."""
        chosen = responses.double() if kept is None else responses.double() * kept
        return chosen.flatten(3) if self.over == "channelwise" else chosen.flatten(2)[:, :, None]

    def _summed(self, block: Block, values: Tensor, norms: Tensor) -> dict[str, Tensor]:
        """Return the columns of the statistic, from distances and lengths (sample, element, vector)."""
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
        """Return the (sample,) largest distance between equal responses that rounding can cause."""
        share = _DOUBLE if double else _SINGLE
        if self.distance in ("l2", "squared_l2"):
            return (share * norms.flatten(1).amax(1)) ** (1 if self.distance == "l2" else 2)
        return torch.full_like(norms[:, 0, 0], max(share**2 / 2, _OF_SUMS))


def _cosine(responses: Tensor, expected: Tensor) -> Tensor:
    """Return (sample, element, vector) −cos; NaN for zero vectors."""
    products = (responses * expected).sum(-1)
    lengths = responses.norm(dim=-1) * expected.norm(dim=-1)
    # Never divide by zero, even if the result is discarded: the gradient would be NaN.
    divisor = torch.where(lengths > 0, lengths, 1.0)
    return torch.where(lengths > 0, -products / divisor, torch.nan)


def _divergence(responses: Tensor, expected: Tensor) -> Tensor:
    """Return KL(p_g ‖ p̄) in nats; 0·log 0 is 0, and its gradient is finite."""
    least = torch.finfo(responses.dtype).tiny
    logs = responses.clamp_min(least).log() - expected.clamp_min(least).log()
    return (responses * logs).sum(-1)


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": _cosine,
    "l2": lambda responses, expected: (responses - expected).norm(dim=-1),  # has a finite gradient at 0
    "squared_l2": lambda responses, expected: (responses - expected).square().sum(-1),
    "kl": _divergence,
}
DISTANCES = tuple(_DISTANCES)


def squared_distances(values: Tensor, rest: Tensor) -> Tensor:
    """Return (sample, version) ‖f(x') − f(x)‖² in float64, one sample at a time to save memory.

    Args:
        values: (sample, version, unit...) f(x').
        rest: (sample, unit...) f(x).
    """
    rows = [(v - r.double()).flatten(1).square().sum(1) for v, r in zip(values, rest, strict=True)]
    return torch.stack(rows)
