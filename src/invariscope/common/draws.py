"""Random numbers keyed by sample and purpose, independent of order, batch and process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WORD = 0xFFFF_FFFF_FFFF_FFFF


class Stream(IntEnum):
    """Purpose of a draw. Streams are independent of each other for every seed and key.

    The values enter every draw, so add new streams but never renumber existing ones.
    """

    TRANSFORM = 0
    REDRAWN_FIELD = 1
    NOISE_DIRECTION = 2
    DEFORMATION_SIZE = 3
    DRAWN_ELEMENT = 4
    CORRUPTION = 5
    IMAGE_CORRUPTION = 6
    RANK = 10
    CLUSTER_RANK = 11
    GROUP = 12
    OCCURRENCE = 13
    EQUAL_NOISE = 20
    GRADIENT_STEP = 21
    OUTPUT_DIRECTION = 22
    BIN_UNIT = 30
    BIN_SAMPLE = 31
    ELEMENT_ORDER = 32
    LABEL_ORDER = 33
    FIRING_SAMPLE = 34
    PROJECTION = 35
    FITTED_HALF = 36
    ORBIT_RESERVOIR = 37
    DISTANCE_RESERVOIR = 38
    KEPT_RESPONSE = 39
    NEURON = 50
    NEURON_PLACE = 51
    NEURON_DEFORMATION = 52
    PENALTY_ELEMENT = 60
    RANDOM_WEIGHTS = 61
    CHANNEL_ORDER = 62
    CHANCE = 63
    DRAWN_UNIT = 64
    FLIP_AND_CROP = 70


@dataclass(frozen=True, eq=False)
class Draws:
    """Random draws for a batch: a stateless, pure function of (seed, stream, path, key, slot).

    The hash is the finaliser of splitmix64, applied once per word.

    Args:
        seed: any integer.
        keys: (sample,) 64-bit integers that identify the samples.
        slots: number of elements to draw for each sample.
        stream: purpose of the draws.
        path: position within a composition, or attempt number; different paths give independent draws.
        chosen: (slot,) the element of each slot; default: 0, 1, 2, ...
        indices: (sample,) positions in the data set, for coefficients listed by position; default: the keys.

    Source:
        Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195.

    >>> whole = Draws(seed=7, keys=np.arange(4), slots=2).uniform()
    >>> last = Draws(seed=7, keys=np.array([3]), slots=2).uniform()
    >>> bool((whole[3] == last[0]).all())
    True
    """

    seed: int
    keys: np.ndarray
    slots: int = 1
    stream: Stream = Stream.TRANSFORM
    path: tuple[int, ...] = ()
    chosen: np.ndarray | None = None
    indices: np.ndarray | None = None

    def under(self, *path: int, stream: Stream | None = None) -> Draws:
        """Return independent draws for the same samples, with a longer path or another stream."""
        return replace(self, path=(*self.path, *path), stream=self.stream if stream is None else stream)

    def take(self, rows: np.ndarray) -> Draws:
        """Return the draws for the samples in these rows."""
        indices = None if self.indices is None else self.indices[rows]
        return replace(self, keys=self.keys[rows], indices=indices)

    @property
    def positions(self) -> np.ndarray:
        """(sample,) positions in the data set."""
        return self.keys if self.indices is None else self.indices

    def words(self) -> np.ndarray:
        """Return independent 64-bit words, uint64 (sample, slot)."""
        start = np.array([self.seed & _WORD], dtype=np.uint64)
        for word in (int(self.stream), len(self.path), *self.path):
            start = _absorb(start, np.array([word & _WORD], dtype=np.uint64))
        key = _absorb(start, np.asarray(self.keys).astype(np.uint64))[:, None]
        slots = np.arange(self.slots) if self.chosen is None else self.chosen
        return _absorb(key, slots.astype(np.uint64))

    def uniform(self) -> np.ndarray:
        """Return independent values in [0, 1), float64 (sample, slot)."""
        return _unit_interval(self.words())

    def uniforms(self, size: int) -> np.ndarray:
        """Return several independent values in [0, 1) per slot, float64 (sample, slot, size)."""
        return _unit_interval(_absorb(self.words()[..., None], np.arange(size, dtype=np.uint64)))

    def normal(self, size: int) -> np.ndarray:
        """Return independent standard normal values, float64 (sample, slot, size), by Box-Muller."""
        half = -(-size // 2)
        keys = self.words()[..., None]
        first, second = (_absorb(keys, np.arange(k * half, (k + 1) * half, dtype=np.uint64)) for k in (0, 1))
        radius = np.sqrt(-2 * np.log1p(-_unit_interval(first)))
        angle = 2 * np.pi * _unit_interval(second)
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)[..., :size]


def drawn_words(keys: np.ndarray, seed: int, stream: Stream) -> np.ndarray:
    """Return one 64-bit word per key, (sample,).

    >>> rising = drawn_words(np.arange(3), 0, Stream.RANK)
    >>> bool((rising == drawn_words(np.arange(3)[::-1], 0, Stream.RANK)[::-1]).all())
    True
    """
    return Draws(seed, keys, stream=stream).words()[:, 0]


def drawn_seed(seed: int, stream: Stream, *path: int) -> int:
    """Return a 64-bit seed for another library's generator."""
    return int(Draws(seed, np.zeros(1, np.uint64), stream=stream, path=path).words()[0, 0])


def numpy_generator(seed: int, stream: Stream, *path: int) -> np.random.Generator:
    """Return a separate NumPy generator, for draws that do not belong to a sample."""
    return np.random.default_rng(drawn_seed(seed, stream, *path))


def sample_keys(given: Any, samples: int, *, name: str = "indices") -> np.ndarray:
    """Return the given integers, one per sample, as an array; by default 0 … samples - 1.

    Raises:
        ValueError: wrong length, or values that are not integers.
    """
    if given is None:
        return np.arange(samples)
    chosen = np.asarray(given)
    if chosen.shape != (samples,) or chosen.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be one integer per sample of the batch, of shape ({samples},); "
            f"got shape {chosen.shape} and dtype {chosen.dtype}."
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
