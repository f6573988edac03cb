"""Moments of a layer's responses after undoing the transform's action."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from invariscope.actions.kept_positions import kept_positions
from invariscope.block import Block
from invariscope.statistics.base import Statistic
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.statistics.moments.orbit_state import OrbitState
from invariscope.statistics.moments.variances import Moments

# Arrays of `Moments` with and without a leading replicate axis.
_WITH_LEAD = ("squared", "moving", "within", "total", "row_deviations", "element_deviation")
_PLAIN = ("unusual", "mean")


@dataclass
class UndoneState:
    """Sums of the undone responses, and the units that no element moved out of the image.

    Args:
        moments: sums over all units, including those that left.
        kept: (unit...) flags.
    """

    moments: OrbitState
    kept: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(bucket,) number of samples."""
        return self.moments.counts

    @property
    def shape(self) -> tuple[int, ...]:
        """The layer's own unit shape."""
        return self.moments.shape

    @property
    def double(self) -> bool:
        """Whether the activations were float64."""
        return self.moments.double


@dataclass(frozen=True)
class UndoneFinal:
    """Moments of the units that were kept.

    Args:
        moments: its arrays are (replicate, kept unit).
        kept: (unit...) flags of those units.
    """

    moments: Moments
    kept: np.ndarray


@dataclass(frozen=True)
class UndoneMoments(Statistic):
    """The sums of `OrbitMoments` for b_ij = t_j⁻¹ a(t_j x_i), and the units for which they are meaningful.

    Args:
        spread: as for `OrbitMoments`.
        mask: leave out units that some element moves out of the image, for any sample.
    """

    spread: str = "variance"
    mask: bool = True

    @property
    def _sums(self) -> OrbitMoments:
        return OrbitMoments(self.spread)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return True."""
        return True

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the same as `OrbitMoments`."""
        return self._sums.bucket_bytes(units, elements)

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the same as `OrbitMoments`."""
        return self._sums.stratum_bytes(units, elements)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> UndoneState:
        """Return an empty state, or reject a layer without an action."""
        moments = self._sums.init(block.with_orbits(block.undone()), buckets=buckets)
        kept = np.ones(moments.shape, bool)
        return UndoneState(moments, kept & _kept(block) if self.mask else kept)

    def update(self, state: UndoneState, block: Block) -> None:
        """Add a block's orbits after undoing the action."""
        if self.mask and block.per_sample:
            state.kept &= _kept(block)
        undone = block.undone()
        # Units that left the image must not affect which samples are decisive.
        gone = torch.from_numpy(~state.kept).to(undone.device)
        self._sums.update(state.moments, block.with_orbits(undone.masked_fill(gone, 0.0)))

    def enlarge(self, state: UndoneState, buckets: int) -> None:
        """Make room for more buckets."""
        self._sums.enlarge(state.moments, buckets)

    def pack(self, state: UndoneState) -> dict[str, np.ndarray]:
        """Return the sums and flags as arrays."""
        return self._sums.pack(state.moments) | {"kept": state.kept}

    def unpack(self, arrays: dict[str, np.ndarray]) -> UndoneState:
        """Restore the state from arrays."""
        moments = {name: array for name, array in arrays.items() if name != "kept"}
        return UndoneState(self._sums.unpack(moments), arrays["kept"].astype(bool))

    def merge(self, first: UndoneState, second: UndoneState) -> UndoneState:
        """Return the sums of both, for the units that are kept in both."""
        return UndoneState(self._sums.merge(first.moments, second.moments), first.kept & second.kept)

    def finalize(self, state: UndoneState, groups: list[list[int]]) -> UndoneFinal:
        """Return moments of the kept units in the given groups of buckets."""
        whole, kept = self._sums.finalize(state.moments, groups), state.kept
        arrays = {name: getattr(whole, name) for name in _WITH_LEAD + _PLAIN}
        chosen = {name: array[..., kept] for name, array in arrays.items() if array is not None}
        return UndoneFinal(replace(whole, samples=whole.samples.reshape(-1, 1), **chosen), kept)


def _kept(block: Block) -> np.ndarray:
    """Return (unit...) whether no element moves the unit out of the image for any sample of the block."""
    return kept_positions(block).all(0).all(0).cpu().numpy()
