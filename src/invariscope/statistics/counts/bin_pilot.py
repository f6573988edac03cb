"""Bin edges of the information measures, from a subset of the untransformed responses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.draws import Draws, Stream
from invariscope.statistics.base import Statistic, with_buckets
from invariscope.statistics.class_labels import class_numbers
from invariscope.statistics.counts.bin_kernel import BINS
from invariscope.statistics.errors import NonFiniteError

# Position of an edge between two responses: irrational, so that quantised responses cannot lie on an edge.
BETWEEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Bins:
    """Bin edges of a layer's selected units, and the labels of all samples.

    Args:
        shape: the layer's unit shape.
        double: whether the activations are float64.
        chosen: (chosen,) selected units, as positions in the flat layer.
        edges: (edge, chosen) bin edges; a response's bin is the number of edges below it.
        keys: (sample,) sample keys, ascending.
        labels: (sample,) classes, counted from 0; empty without labels.
    """

    shape: tuple[int, ...]
    double: bool
    chosen: np.ndarray
    edges: np.ndarray
    keys: np.ndarray
    labels: np.ndarray

    def known(self, block: Block) -> Block:
        """Return the block without the samples that the pilot left out."""
        return block.repeated(np.isin(block.keys, self.keys).astype(np.int64))

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.keys)

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return int(self.labels.max()) + 1 if len(self.labels) else 0

    def permuted(self, keys: np.ndarray, permutations: int, seed: int) -> np.ndarray:
        """Return (sample, 1 + permutations) classes of the given samples: their own, then permuted ones."""
        if not len(self.labels):
            return np.zeros((len(keys), 0), np.int64)
        drawn = permutations, seed
        if drawn not in self._tables:
            orders = label_orders(self.keys, permutations, seed=seed)
            self._tables[drawn] = np.concatenate([self.labels[:, None], self.labels[orders]], axis=1)
        return self._tables[drawn][np.searchsorted(self.keys, keys)]

    @cached_property
    def _tables(self) -> dict[tuple[int, int], np.ndarray]:
        return {}

    def pack(self) -> dict[str, np.ndarray]:
        """Return all fields as arrays."""
        named = {name: getattr(self, name) for name in ("chosen", "edges", "keys", "labels")}
        return named | {"shape": np.array(self.shape, np.int64), "double": np.array(self.double)}

    @classmethod
    def unpack(cls, arrays: dict[str, np.ndarray]) -> Bins:
        """Restore the bins from arrays."""
        named = {name: arrays[name] for name in ("chosen", "edges", "keys", "labels")}
        return cls(tuple(arrays["shape"].tolist()), bool(arrays["double"]), **named)


@dataclass
class BinPilotState:
    """Responses of the samples with the smallest hashes, and every sample's label.

    Args:
        counts: (bucket,) number of samples, all in the first bucket.
        shape, double, chosen: see `Bins`.
        keys, labels: keys and labels of all samples so far.
        hashes: (kept,) hashes of the samples in `rows`.
        rows: (kept, chosen) responses.
    """

    counts: np.ndarray
    shape: tuple[int, ...]
    double: bool
    chosen: np.ndarray
    keys: np.ndarray
    labels: np.ndarray
    hashes: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class BinPilot(Statistic):
    """Responses of a few units to a few untransformed samples, both selected by a hash.

    Args:
        units, samples: number of units and of samples to keep.
        labels: whether to keep the labels of all samples.
        seed: seed of the hash.
    """

    units: int
    samples: int
    labels: bool
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the responses that are kept."""
        return 8 * self.samples * (min(units, self.units) + 1)

    def needed(self, keys: np.ndarray) -> np.ndarray:
        """Return the samples with the smallest hashes."""
        flags = np.zeros(len(keys), bool)
        flags[np.argsort(sample_hashes(keys, seed=self.seed), kind="stable")[: self.samples]] = True
        return flags

    def add_others(self, state: BinPilotState, keys: np.ndarray, labels: Tensor | None) -> None:
        """Replace the keys and labels of the samples seen by those of all samples."""
        state.counts[0] = len(keys)
        state.keys, state.labels = keys, _classes(labels) if self.labels else state.labels[:0]

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BinPilotState:
        """Return an empty state with the selected units."""
        shape, double = tuple(block.values.shape[1:]), block.values.dtype == torch.float64
        chosen = chosen_units(int(np.prod(shape)), self.units, seed=self.seed)
        none = np.zeros(0, np.int64)
        rows = responses_of(block.values[:1], chosen)[:0]
        return BinPilotState(
            np.zeros(buckets, np.int64), shape, double, chosen, none, none, np.zeros(0), rows
        )

    def update(self, state: BinPilotState, block: Block) -> None:
        """Add a block's samples, and drop those whose hash is too large."""
        first = block.rows_of(np.arange(block.samples), np.arange(1))[:, 0]
        labels = _classes(block.labels) if self.labels else state.labels[:0]
        state.counts[0] += block.samples
        state.keys = np.concatenate([state.keys, block.keys])
        state.labels = np.concatenate([state.labels, labels])
        hashes = sample_hashes(block.keys, seed=self.seed)
        self._keep(state, hashes, responses_of(block.values, state.chosen)[first])

    def _keep(self, state: BinPilotState, hashes: np.ndarray, rows: np.ndarray) -> None:
        hashes, rows = np.concatenate([state.hashes, hashes]), np.concatenate([state.rows, rows])
        least = np.argsort(hashes, kind="stable")[: self.samples]
        state.hashes, state.rows = hashes[least], rows[least]

    def enlarge(self, state: BinPilotState, buckets: int) -> None:
        """Append empty buckets."""
        state.counts = with_buckets(state.counts, buckets)

    def pack(self, state: BinPilotState) -> dict[str, np.ndarray]:
        """Return the state as arrays."""
        named = ("counts", "chosen", "keys", "labels", "hashes", "rows")
        arrays = {name: getattr(state, name) for name in named}
        return arrays | {"shape": np.array(state.shape, np.int64), "double": np.array(state.double)}

    def unpack(self, arrays: dict[str, np.ndarray]) -> BinPilotState:
        """Restore the state from arrays."""
        shape, double = tuple(arrays["shape"].tolist()), bool(arrays["double"])
        named = {name: array for name, array in arrays.items() if name not in ("shape", "double")}
        return BinPilotState(shape=shape, double=double, **named)

    def merge(self, first: BinPilotState, second: BinPilotState) -> BinPilotState:
        """Return the combined state."""
        both = self.unpack(self.pack(first))
        both.counts = first.counts + second.counts
        both.keys = np.concatenate([first.keys, second.keys])
        both.labels = np.concatenate([first.labels, second.labels])
        self._keep(both, second.hashes, second.rows)
        return both

    def finalize(self, state: BinPilotState, groups: list[list[int]]) -> Bins:
        """Return the bins, which depend on all samples, whatever the groups."""
        order = np.argsort(state.keys, kind="stable")
        labels = state.labels if len(state.labels) == len(state.keys) else state.labels[:0]
        classes = np.unique(labels, return_inverse=True)[1][order] if len(labels) else labels
        edges = bin_edges(state.rows.astype(np.float64), double=state.double)
        return Bins(state.shape, state.double, state.chosen, edges, state.keys[order], classes)


def bin_edges(rows: np.ndarray, *, double: bool) -> np.ndarray:
    """Return (edge, unit) quantiles that divide (sample, unit) responses into 16 bins.

    If two or more quantiles are equal up to the rounding of responses, at least a sixteenth of the samples
    share that value. It then gets its own bin, with one edge just below it and one just above.

    >>> bin_edges(np.array([[0.0]] * 9 + [[1.0]] * 7), double=True)[[0, 7, 9, 14], 0].round(3)
    array([-0.,  0.,  1.,  1.])
    """
    # Place edges between two responses: if one were on a response, rounding would decide the response's bin.
    ordered, last = np.sort(rows, axis=0), len(rows) - 1
    below = last * np.arange(1, BINS) // BINS
    lower, upper = ordered[below], ordered[np.minimum(below + 1, last)]
    quantiles = lower + BETWEEN * (upper - lower)
    scale = np.sqrt((rows**2).mean(axis=0))
    tiny = 1e-10 if double else 32 * float(np.finfo(np.float32).eps)
    tolerance = tiny * np.maximum(scale, 1e-3 * np.sqrt((rows**2).mean()))
    level = quantiles.copy()
    for k in range(1, len(level)):
        level[k] = np.where(quantiles[k] - level[k - 1] <= tolerance, level[k - 1], quantiles[k])
    same = level[1:] == level[:-1]
    never = np.zeros((1, rows.shape[1]), bool)
    again, before = np.concatenate([same, never]), np.concatenate([never, same])
    return level - tolerance * again + tolerance * (before & ~again)


def chosen_units(units: int, most: int, *, seed: int) -> np.ndarray:
    """Return (chosen,) ascending positions of at most this many units of a flat layer."""
    if units <= most:
        return np.arange(units)
    draws = Draws(seed, np.arange(units), stream=Stream.BIN_UNIT).uniform()[:, 0]
    return np.sort(np.argsort(draws, kind="stable")[:most])


def sample_hashes(keys: np.ndarray, *, seed: int) -> np.ndarray:
    """Return (sample,) hashes; the samples with the smallest ones determine the bins."""
    return Draws(seed, keys, stream=Stream.BIN_SAMPLE).uniform()[:, 0]


def element_orders(keys: np.ndarray, permutations: int, elements: int, *, seed: int) -> np.ndarray:
    """Return (sample, permutation, element) permuted positions of each sample's elements."""
    draws = Draws(seed, keys, permutations * elements, Stream.ELEMENT_ORDER).uniform()
    return draws.reshape(len(keys), permutations, elements).argsort(axis=-1, kind="stable")


def label_orders(keys: np.ndarray, permutations: int, *, seed: int) -> np.ndarray:
    """Return (sample, permutation) positions of the samples whose labels each sample gets."""
    return Draws(seed, keys, permutations, Stream.LABEL_ORDER).uniform().argsort(axis=0, kind="stable")


def responses_of(values: Tensor, chosen: np.ndarray) -> np.ndarray:
    """Return (row, chosen) responses of the selected units, in float32 or float64.

    Raises:
        NonFiniteError: a response is NaN or infinite.
    """
    place = tuple(torch.from_numpy(at).to(values.device) for at in np.unravel_index(chosen, values.shape[1:]))
    rows = values[(slice(None), *place)]
    rows = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    if not rows.isfinite().all():
        raise NonFiniteError
    return rows.contiguous().cpu().numpy()


def _classes(labels: Tensor | None) -> np.ndarray:
    """Return (sample,) class numbers; empty if the labels are not classes."""
    if labels is None or labels.is_floating_point():
        return np.zeros(0, np.int64)
    return class_numbers(labels).cpu().numpy().astype(np.int64)
