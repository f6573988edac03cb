"""What a statistic is: a mergeable accumulator over blocks of whole orbits."""

from __future__ import annotations

import abc
import math
from typing import Any, ClassVar

import numpy as np

from invariscope.block import Block
from invariscope.statistics.probes import Probe


class Statistic(abc.ABC):
    """A frozen specification of sums over samples; the sums themselves live in a state.

    Two measures share one state when their specifications are equal. States are additive: `merge`
    is associative and commutative up to rounding, and a sample is counted in the bucket it came
    with. Classes, jackknife groups, processes and checkpoints are all merges of buckets.
    """

    refuses_nonfinite: ClassVar[bool] = False
    """Whether `update` notices NaN and infinity by itself; otherwise they are looked for beforehand."""

    reads: tuple[Probe, ...] = ()
    """The probes whose responses are read."""

    paired: bool = False
    """Whether `block.partners` is read."""

    takes_ragged: ClassVar[bool] = False
    """Whether blocks may differ in units: the numbers that are kept are those of single samples."""

    measures_inputs: ClassVar[bool] = False
    """Whether `block.distances` is read."""

    sized: ClassVar[bool] = False
    """Whether `block.total` is read: a pilot over a stream of unknown length is then counted first."""

    @property
    def pilot(self) -> Statistic | None:
        """What must be known of all untransformed inputs beforehand, such as thresholds; usually nothing."""
        return None

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Whether values of a layer of so many unit axes change places under an action that it applies."""
        return False

    def units_of(self, shape: tuple[int, ...]) -> int:
        """How many units of a layer of that shape the sums are kept for."""
        return math.prod(shape)

    @abc.abstractmethod
    def bucket_bytes(self, units: int, elements: int) -> int:
        """Memory that one bucket of a layer's state takes."""

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the memory that each stratum takes besides its buckets; usually none."""
        return 0

    def piloted_bytes(self, units: int, elements: int, pilot: Any) -> int:
        """The same, where the final value of the pilot decides it."""
        return self.bucket_bytes(units, elements)

    def notes(self, final: Any) -> tuple[str, ...]:
        """What a reader of the result should know of how a pilot came to its final value."""
        return ()

    @abc.abstractmethod
    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> Any:
        """An empty state for blocks like this one.

        Args:
            pilot: the final value of the statistic that `pilot` names, of the same layer.
        Raises:
            NotApplicableError: the layer lacks what this statistic needs.
        """

    @abc.abstractmethod
    def update(self, state: Any, block: Block) -> None:
        """Adds a block's orbits to the state, in place."""

    @abc.abstractmethod
    def enlarge(self, state: Any, buckets: int) -> None:
        """Makes room for `buckets` buckets, in place: a stream has shown a class not seen before."""

    @abc.abstractmethod
    def pack(self, state: Any) -> dict[str, np.ndarray]:
        """The state as named arrays, for a checkpoint."""

    @abc.abstractmethod
    def unpack(self, arrays: dict[str, np.ndarray]) -> Any:
        """The state that `pack` gave these arrays for."""

    @abc.abstractmethod
    def merge(self, first: Any, second: Any) -> Any:
        """The state of both sets of samples together; neither argument is changed."""

    @abc.abstractmethod
    def finalize(self, state: Any, groups: list[list[int]]) -> Any:
        """Final values of the samples in all the given buckets, and of all but each group's.

        The leading axis of what is returned is the *replicate*: 0 uses every group, and, where
        there are two groups or more, 1 + g leaves group g out.
        """


def replicate_sums(parts: np.ndarray) -> np.ndarray:
    """(group, ...) sums to (replicate, ...) sums: all groups, then all but each.

    >>> replicate_sums(np.array([1.0, 2.0, 4.0]))
    array([7., 6., 5., 3.])
    """
    whole = parts.sum(axis=0, keepdims=True)
    return whole if len(parts) < 2 else np.concatenate([whole, whole - parts])


def with_buckets(array: np.ndarray, buckets: int) -> np.ndarray:
    """The array with empty buckets added to its leading axis."""
    empty = np.zeros((buckets - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, empty])
