"""Apply any statistic to responses to inputs that were transformed and transformed back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invariscope.block import Block
from invariscope.statistics.base import Statistic

PROBE = "round_trip"


@dataclass(frozen=True)
class OnRoundTrip(Statistic):
    """The sums of another statistic, with a(t_j⁻¹ t_j x_i) for a(t_j x_i): what interpolation alone causes.

    Args:
        of: the wrapped statistic. The block must contain the responses to the probe "round_trip", one column
            per element, directly after the orbit.
    """

    of: Statistic

    @property
    def pilot(self) -> Statistic | None:
        """The wrapped statistic's pilot, which uses untransformed inputs only."""
        return self.of.pilot

    def units_of(self, shape: tuple[int, ...]) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.units_of(shape)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.bucket_bytes(units, elements)

    @property
    def drawable(self) -> bool:
        """Delegate to the wrapped statistic."""
        return self.of.drawable

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.stratum_bytes(units, elements)

    def piloted_bytes(self, units: int, elements: int, pilot: Any) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.piloted_bytes(units, elements, pilot)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> Any:
        """Return an empty state."""
        return self.of.init(returned(block), buckets=buckets, pilot=pilot)

    def update(self, state: Any, block: Block) -> None:
        """Add a block's round trips."""
        self.of.update(state, returned(block))

    @property
    def first_samples(self) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.first_samples

    def restarted(self, state: Any, *, classes: bool = True) -> Any:
        """Delegate to the wrapped statistic."""
        return self.of.restarted(state, classes=classes)

    def enlarge(self, state: Any, buckets: int) -> None:
        """Delegate to the wrapped statistic."""
        self.of.enlarge(state, buckets)

    def pack(self, state: Any) -> dict[str, np.ndarray]:
        """Delegate to the wrapped statistic."""
        return self.of.pack(state)

    def unpack(self, arrays: dict[str, np.ndarray]) -> Any:
        """Delegate to the wrapped statistic."""
        return self.of.unpack(arrays)

    def merge(self, first: Any, second: Any) -> Any:
        """Delegate to the wrapped statistic."""
        return self.of.merge(first, second)

    def finalize(self, state: Any, groups: list[list[int]]) -> Any:
        """Delegate to the wrapped statistic."""
        return self.of.finalize(state, groups)

    def finalize_strata(self, state: Any, buckets: np.ndarray) -> Sequence[Any]:
        """Delegate to the wrapped statistic."""
        return self.of.finalize_strata(state, buckets)


def returned(block: Block) -> Block:
    """Return the block with the round trips as its orbits; probes keep their positions relative to them.

    >>> import torch
    >>> from invariscope.block import Membership
    >>> one = {"samples": 1, "elements": 2, "sample_step": 5, "element_step": 1, "indices": np.array([0])}
    >>> probes = {"round_trip": (2, 3), "identity": (4,)}
    >>> block = Block(values=torch.arange(5.0)[:, None], membership=Membership(np.zeros((1, 1), int)),
    ...               probes=probes, **one)
    >>> returned(block).orbits().flatten(), returned(block).probe("identity").flatten()
    (tensor([2., 3.]), tensor([4.]))
    """
    first, own = block.probes[PROBE][0], block.elements
    assert first == own, "the round trip must directly follow the orbit"
    # The identity may be an element of the orbit; its round trip is the same input.
    places = {
        name: tuple(column - first if column >= own else column for column in columns)
        for name, columns in block.probes.items()
        if name != PROBE
    }
    values = block.values[first * block.element_step :]
    return replace(block, values=values, probes=places, restored=True)
