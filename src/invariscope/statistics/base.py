"""The base class of statistics: mergeable accumulators over blocks of whole orbits."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.probes import Probe


class Statistic(abc.ABC):
    """A frozen specification of sums over samples; the sums themselves are kept in a state.

    Measures that request equal statistics share one state. States are additive: `merge` is associative and
    commutative up to rounding, and each sample is counted in its buckets. Classes, jackknife groups,
    processes and checkpoints are all combined by merging buckets.
    """

    refuses_nonfinite: ClassVar[bool] = False
    """Whether `update` itself detects NaN and infinity; otherwise they are checked beforehand."""

    reads: tuple[Probe, ...] = ()
    """The probes whose responses are read."""

    paired: bool = False
    """Whether `block.partners` is read."""

    needs_maps: ClassVar[bool] = False
    """Whether `update` needs whole maps even if it keeps drawn units only, which `block.draw` then names."""

    takes_ragged: ClassVar[bool] = False
    """Whether blocks may differ in units: the numbers that are kept are those of single samples."""

    measures_inputs: ClassVar[bool] = False
    """Whether `block.distances` is read."""

    sized: ClassVar[bool] = False
    """Whether `block.total` is read; a stream of unknown length is then counted before the pilot."""

    @property
    def drawable(self) -> bool:
        """Whether units are treated one by one, so that a random sample of a large layer's units suffices."""
        return False

    @property
    def ordered(self) -> bool:
        """Whether the order of the data within each stratum matters, as in some published protocols."""
        return False

    @property
    def first_samples(self) -> int:
        """Number of samples at the start of each stratum on which final values depend; usually 0."""
        return 0

    @property
    def pilot(self) -> Statistic | None:
        """Statistic of all untransformed inputs that must be computed first, or None (the usual case)."""
        return None

    def needed(self, keys: np.ndarray) -> np.ndarray | None:
        """Return (sample,) flags of the samples whose responses a pilot needs; None if it needs all.

        Args:
            keys: (sample,) keys of all samples.
        """
        return None

    def add_others(self, state: Any, keys: np.ndarray, labels: Tensor | None) -> None:
        """Add the keys and labels of all samples to a pilot's state, after it saw those it needed."""
        raise NotImplementedError("this pilot needs all samples")

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return whether the statistic's action moves positions in a layer with this many unit axes."""
        return False

    def alike(self, layer: str, other: str) -> bool:
        """Return whether layers of these names have equal final values if their responses are equal."""
        return True

    def units_of(self, shape: tuple[int, ...]) -> int:
        """Return the number of units for which sums are kept, for a layer of this shape."""
        return math.prod(shape)

    @abc.abstractmethod
    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for one bucket of a layer's state."""

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for each stratum, in addition to its buckets; usually 0."""
        return 0

    def piloted_bytes(self, units: int, elements: int, pilot: Any) -> int:
        """Return the bytes needed for one bucket, given the final value of the pilot."""
        return self.bucket_bytes(units, elements)

    def notes(self, final: Any) -> tuple[str, ...]:
        """Return notes on how a pilot obtained its final value."""
        return ()

    @abc.abstractmethod
    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> Any:
        """Return an empty state for blocks like this one.

        Args:
            pilot: the final value of the `pilot` statistic for the same layer.
        Raises:
            NotApplicableError: the layer lacks what this statistic needs.
        """

    @abc.abstractmethod
    def update(self, state: Any, block: Block) -> None:
        """Add a block's orbits to the state, in place."""

    def restarted(self, state: Any, *, classes: bool = True) -> Any:
        """Return a state without samples that keeps what `first_samples` determined.

        Args:
            classes: whether to keep this for single classes too, or only for all samples together.
        """
        raise NotImplementedError("nothing depends on the first samples")

    @abc.abstractmethod
    def enlarge(self, state: Any, buckets: int) -> None:
        """Extend the state to `buckets` buckets, in place, after a new class has appeared in a stream."""

    @abc.abstractmethod
    def pack(self, state: Any) -> dict[str, np.ndarray]:
        """Return the state as named arrays, for a checkpoint."""

    @abc.abstractmethod
    def unpack(self, arrays: dict[str, np.ndarray]) -> Any:
        """Restore the state from the arrays that `pack` returned."""

    @abc.abstractmethod
    def merge(self, first: Any, second: Any) -> Any:
        """Return the combined state of two sets of samples; neither argument is changed."""

    @abc.abstractmethod
    def finalize(self, state: Any, groups: list[list[int]]) -> Any:
        """Return final values for all given groups of buckets together, and with each group left out.

        The leading axis is the *replicate*: 0 uses every group and, if there are at least two groups, 1 + g
        leaves group g out.
        """

    def finalize_strata(self, state: Any, buckets: np.ndarray) -> Sequence[Any]:
        """Return the final values of each of several strata; statistics may compute them together.

        Args:
            buckets: (stratum, group, bucket) the buckets of each group; those of one stratum only.
        """
        return [self.finalize(state, groups) for groups in buckets.tolist()]


def replicate_sums(parts: np.ndarray) -> np.ndarray:
    """Convert (group, ...) sums to (replicate, ...) sums: over all groups, then with each group left out.

    >>> replicate_sums(np.array([1.0, 2.0, 4.0]))
    array([7., 6., 5., 3.])
    """
    whole = parts.sum(axis=0, keepdims=True)
    return whole if len(parts) < 2 else np.concatenate([whole, whole - parts])


def sums_of_groups(array: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    """Return (replicate, ...) sums of a (bucket, ...) array: over all groups, then with each left out."""
    return replicate_sums(np.stack([array[members].sum(axis=0) for members in groups]))


def with_buckets(array: np.ndarray, buckets: int) -> np.ndarray:
    """Return the array with empty buckets appended to its leading axis."""
    empty = np.zeros((buckets - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, empty])
