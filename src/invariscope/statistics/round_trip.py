"""Any statistic, fed with the responses to inputs that were transformed and brought back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from invariscope.block import Block
from invariscope.statistics.base import Statistic

PROBE = "round_trip"


@dataclass(frozen=True)
class OnRoundTrip(Statistic):
    """The same sums with a(t_j⁻¹ t_j x_i) in the place of a(t_j x_i): what the transform alone costs.

    Args:
        of: the statistic. Needs the responses to the probe "round_trip", one column an element, right
            behind the orbit.
    """

    of: Statistic

    @property
    def pilot(self) -> Statistic | None:
        """The statistic's own: pilots see untransformed inputs."""
        return self.of.pilot

    def units_of(self, shape: tuple[int, ...]) -> int:
        """As of the statistic itself."""
        return self.of.units_of(shape)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.bucket_bytes(units, elements)

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.stratum_bytes(units, elements)

    def piloted_bytes(self, units: int, elements: int, pilot: Any) -> int:
        """Delegate to the wrapped statistic."""
        return self.of.piloted_bytes(units, elements, pilot)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> Any:
        """An empty state of the statistic."""
        return self.of.init(returned(block), buckets=buckets, pilot=pilot)

    def update(self, state: Any, block: Block) -> None:
        """Adds a block's round trips."""
        self.of.update(state, returned(block))

    def enlarge(self, state: Any, buckets: int) -> None:
        """Room for more buckets."""
        self.of.enlarge(state, buckets)

    def pack(self, state: Any) -> dict[str, np.ndarray]:
        """The state as arrays."""
        return self.of.pack(state)

    def unpack(self, arrays: dict[str, np.ndarray]) -> Any:
        """The state from arrays."""
        return self.of.unpack(arrays)

    def merge(self, first: Any, second: Any) -> Any:
        """The state of both."""
        return self.of.merge(first, second)

    def finalize(self, state: Any, groups: list[list[int]]) -> Any:
        """Final values, of the statistic's own kind."""
        return self.of.finalize(state, groups)


def returned(block: Block) -> Block:
    """The block with the round trips as its orbits; probes keep their places relative to them.

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
    assert first == own, "the round trip stands right behind the orbit"
    # The identity may be an element of the orbit; there and back it is the same input.
    places = {
        name: tuple(column - first if column >= own else column for column in columns)
        for name, columns in block.probes.items()
        if name != PROBE
    }
    values = block.values[first * block.element_step :]
    return replace(block, values=values, probes=places, restored=True)
