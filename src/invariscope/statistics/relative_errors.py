"""How far responses are from where an action should have taken them, relative to their size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.actions.feature_actions import FeatureAction, SpatialAction
from invariscope.actions.kept_positions import kept_positions
from invariscope.block import Block, NotApplicableError, UnclearLayoutError
from invariscope.statistics.kept.sample_table import SampleStatistic


@dataclass(frozen=True)
class RelativeErrors(SampleStatistic):
    """‖a(t_j x_i) − t_j a(x_i)‖ / ‖t_j a(x_i)‖ of every sample and element, under each of several actions.

    Columns (sample, element) for action number k: "error.k", NaN for the identity and where both norms are
    0, infinite where that of t_j a(x_i) alone is; "null.k", the same with the partner's a(z) in place of
    a(x_i) above and below, NaN also where there is none; "trip.k", ‖t_j⁻¹ t_j a(x_i) − a(x_i)‖ / ‖a(x_i)‖,
    what the action itself loses, NaN where the elements have no inverse. And (sample,) "undefined.k",
    elements other than the identity whose denominator is 0, and "index"; (sample, element) "size.k", the
    denominators. An action that a layer does not
    have has no columns. Needs the responses to the probe "identity".

    Args:
        actions: of the elements on the responses. Where positions move, units whose content comes from
            outside the image are left out.
    """

    paired: ClassVar[bool] = True
    actions: tuple[FeatureAction, ...] = field(default_factory=lambda: (SpatialAction(),))

    def moves_positions(self, layer: str, axes: int) -> bool:
        """As any of the actions does."""
        return any(action.moves_positions(layer, axes) for action in self.actions)

    def rows(self, block: Block) -> dict[str, Tensor | np.ndarray]:
        """The errors of each sample of the block."""
        found: dict[str, Tensor | np.ndarray] = {"index": block.indices}
        reasons = []
        for number, action in enumerate(self.actions):
            try:
                columns = _columns(block, action)
            except UnclearLayoutError:  # an action that leaves the layer as it is proves nothing either
                raise
            except NotApplicableError as error:
                reasons.append(str(error))
            else:
                found |= {f"{name}.{number}": column for name, column in columns.items()}
        if len(reasons) == len(self.actions):
            raise NotApplicableError("; ".join(dict.fromkeys(reasons)))
        return found


def _columns(block: Block, action: FeatureAction) -> dict[str, Tensor]:
    responses, rest = block.orbits(), block.probe("identity")[:, 0].double()
    norms = norms_over(_kept(block, action, inverse_first=not block.restored))
    expected = action.moved(block, rest)
    size = norms(expected)
    error = norms(responses - expected) / size
    still = [j for j in block.probes["identity"] if j < block.elements]
    null = _null(block, action, rest, norms)
    error[:, still] = null[:, still] = torch.nan
    return {
        "error": error,
        "size": size,
        "undefined": zero_denominators(error, still),
        "null": null,
        "trip": _trip(block, action, expected, rest),
    }


def _null(block: Block, action: FeatureAction, rest: Tensor, norms: Callable[[Tensor], Tensor]) -> Tensor:
    partners = np.full(block.samples, -1) if block.partners is None else block.partners
    expected = action.moved(block, rest[torch.from_numpy(np.maximum(partners, 0)).to(rest.device)])
    null = norms(block.orbits() - expected) / norms(expected)
    lonely = torch.from_numpy(partners < 0).to(null.device)
    return null.masked_fill(lonely[:, None], torch.nan)


def _trip(block: Block, action: FeatureAction, there: Tensor, rest: Tensor) -> Tensor:
    """(sample, element) what the action there and back changes."""
    if block.restored or not _moves(action, block):
        return torch.zeros(there.shape[:2], dtype=torch.float64, device=there.device)
    try:
        back = action.applied(block, there, inverse=True)
    except NotApplicableError:
        return torch.full(there.shape[:2], torch.nan, dtype=torch.float64, device=there.device)
    norms, still = norms_over(_kept(block, action, inverse_first=False)), rest[:, None].expand_as(back)
    return norms(back - still) / norms(still)


def _kept(block: Block, action: FeatureAction, *, inverse_first: bool) -> Tensor | None:
    """Flags of the units that t and t⁻¹, in either order, return; None where all are, or nobody can say."""
    if not _moves(action, block):
        return None
    try:
        return kept_positions(block, inverse_first=inverse_first)
    except NotApplicableError:  # no inverse
        return None


def _moves(action: FeatureAction, block: Block) -> bool:
    return action.moves_positions(block.layer, block.values.ndim - 1)


def zero_denominators(error: Tensor, still: list[int]) -> Tensor:
    """(sample,) how many elements other than the identity have an error over 0, be it 0/0 or not."""
    return (~error.isfinite()).sum(1) - len(still)


def norms_over(kept: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Euclidean norms (sample, element) over the kept units, in float64."""

    def norms(maps: Tensor) -> Tensor:
        chosen = maps if kept is None else maps * kept
        return torch.linalg.vector_norm(chosen.flatten(2), dim=2, dtype=torch.float64)

    return norms
