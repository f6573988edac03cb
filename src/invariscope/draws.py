"""Random numbers keyed by what they belong to, so that batches and processes cannot change them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True, eq=False)
class Draws:
    """The draws of a batch: a pure function of (seed, sample index, element), with no state to move.

    The hash is the finaliser of splitmix64, applied once for each word of the key.

    Args:
        seed: any integer.
        indices: the samples' global indices, int64 (sample,).
        slots: how many elements each sample draws for.
        part: position within a composition, so that its parts draw independently.
        chosen: (slot,) the elements that the slots stand for; by default 0, 1, 2, ...

    Source:
        Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195.

    >>> whole = Draws(seed=7, indices=np.arange(4), slots=2).uniform()
    >>> last = Draws(seed=7, indices=np.array([3]), slots=2).uniform()
    >>> bool((whole[3] == last[0]).all())
    True
    """

    seed: int
    indices: np.ndarray
    slots: int
    part: int = 0
    chosen: np.ndarray | None = None

    def uniform(self) -> np.ndarray:
        """Independent values in [0, 1), float64 (sample, element)."""
        return _unit_interval(self._keys())

    def uniforms(self, size: int) -> np.ndarray:
        """Several for each: independent values in [0, 1), float64 (sample, element, size)."""
        return _unit_interval(_absorb(self._keys()[..., None], np.arange(size, dtype=np.uint64)))

    def normal(self, size: int) -> np.ndarray:
        """Independent standard normal values, float64 (sample, element, size), by Box and Muller."""
        half = -(-size // 2)
        keys = self._keys()[..., None]
        first, second = (_absorb(keys, np.arange(k * half, (k + 1) * half, dtype=np.uint64)) for k in (0, 1))
        radius = np.sqrt(-2 * np.log1p(-_unit_interval(first)))
        angle = 2 * np.pi * _unit_interval(second)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)[..., :size]

    def _keys(self) -> np.ndarray:
        """(sample, element) the hash of each key."""
        start = np.array([self.seed & _WORD], dtype=np.uint64)
        key = _absorb(start, np.array([self.part], dtype=np.uint64))
        key = _absorb(key, self.indices.astype(np.uint64))[:, None]
        slots = np.arange(self.slots) if self.chosen is None else self.chosen
        return _absorb(key, slots.astype(np.uint64))


def sample_indices(indices: Any, samples: int) -> np.ndarray:
    """The given global indices as an array, 0 .. samples - 1 where none are given."""
    if indices is None:
        return np.arange(samples)
    chosen = np.asarray(indices)
    if chosen.shape != (samples,) or chosen.dtype.kind not in "iu":
        raise ValueError(
            f"indices name each sample of the batch with one integer: expected shape ({samples},), "
            f"got shape {chosen.shape} of {chosen.dtype}."
        )
    return chosen


def _unit_interval(keys: np.ndarray) -> np.ndarray:
    return (keys >> np.uint64(11)) * 2.0**-53


def _absorb(key: np.ndarray, word: np.ndarray) -> np.ndarray:
    return _mix(key ^ _mix(word + _GOLDEN))


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
