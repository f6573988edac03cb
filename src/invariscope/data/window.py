"""Consecutive samples of the walk over the data, and a digest of all walked samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.samples import (
    Inputs,
    has_known_content,
    is_structured,
    sample_digest,
    shape_of,
    taken,
)
from invariscope.data.order import CONTENT, Order, content_digests, input_digests

_BYTES = 12  # of a fingerprint


@dataclass(frozen=True, eq=False)
class Window:
    """Consecutive samples in the order of the walk, consisting of whole pairs.

    Args:
        store: (row, ...) inputs, or (row,) samples, not necessarily in the order of the walk.
        rows: (sample,) rows of the store; None if the store is in the order of the walk.
        labels: (sample,) or None.
        indices: (sample,) positions in the data.
        keys: (sample,) int64 keys that identify the samples.
        pairs: (sample,) pair numbers, ascending.
        partners: (sample,) position of each sample's partner in the window, -1 for none.
        groups: (sample,) jackknife groups.
        clusters: (sample,) cluster numbers, or None.
        first: rank of the first sample.
        digested: whether keys are digests of the inputs.
        contents: (sample,) digests of the inputs, if they are known.
        singly: whether fingerprints take samples one by one, so that those of parts of a walk add up.
    """

    store: Inputs
    labels: Tensor | None
    indices: np.ndarray
    keys: np.ndarray
    pairs: np.ndarray
    partners: np.ndarray
    groups: np.ndarray
    clusters: np.ndarray | None = None
    rows: np.ndarray | None = None
    first: int = 0
    digested: bool = False
    singly: bool = False
    contents: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def inputs(self) -> Inputs:
        """(sample, ...) all inputs; a copy if the store has a different order."""
        return self.store if self.rows is None else self.take(np.arange(len(self)))

    @cached_property
    def sample_digests(self) -> list[bytes]:
        """Digest of each sample."""
        return [sample_digest(sample) for sample in self.inputs]

    @cached_property
    def digests(self) -> np.ndarray:
        """(sample,) int64 digests of the inputs; keys of samples that digests do not cover."""
        if is_structured(self.store) and not all(map(has_known_content, self.inputs)):
            return self.keys
        if self.contents is not None:
            return self.contents
        if is_structured(self.store):
            return content_digests(self.sample_digests)
        return input_digests(self.inputs)

    def take(self, chosen: np.ndarray) -> Inputs:
        """Return the (chosen, ...) inputs of some samples."""
        return taken(self.store, chosen if self.rows is None else self.rows[chosen])

    def part(self, low: int, high: int) -> Window:
        """Return the samples from `low` up to but excluding `high`; partners outside that range become -1."""
        mates = self.partners[low:high] - low
        mates = np.where((mates < 0) | (mates >= high - low), -1, mates)
        cut: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[low:high]
            for name in ("labels", "indices", "keys", "pairs", "groups", "clusters", "contents")
        }
        rows = np.arange(len(self)) if self.rows is None else self.rows
        return replace(self, **cut, partners=mates, rows=rows[low:high], first=self.first + low)


def window_of(
    store: Inputs,
    labels: Tensor | None,
    order: Order,
    *,
    low: int = 0,
    high: int | None = None,
    rows: np.ndarray | None = None,
) -> Window:
    """Return the window of the samples with ranks from `low` up to but excluding `high`.

    Args:
        store: inputs of these samples.
        labels: their labels, in the order of the walk.
        rows: their rows in the store; None if the store is in the order of the walk.
    """
    high = len(order) if high is None else high
    positions = order.walk[low:high]
    mates = order.partners[low:high]
    return Window(
        store,
        labels,
        positions,
        order.keys[positions],
        order.pairs[low:high],
        np.where(mates < 0, -1, mates - low),
        order.groups[low:high],
        None if order.clusters is None else order.clusters[low:high],
        rows,
        low,
        order.kind == CONTENT,
        contents=None if order.contents is None else order.contents[positions],
    )


def chosen_window(
    store: Inputs, labels: Tensor | None, order: Order, ranks: np.ndarray, *, rows: np.ndarray | None = None
) -> Window:
    """Return a window of any samples; partners that are not among them become -1.

    Args:
        store: the inputs.
        labels: the labels of the chosen samples.
        ranks: (sample,) ranks, ascending.
        rows: the samples' rows in the store; None if the store holds the chosen samples only.
    """
    place = np.full(len(order) + 1, -1)
    place[ranks] = np.arange(len(ranks))
    positions = order.walk[ranks]
    return Window(
        store,
        labels,
        positions,
        order.keys[positions],
        order.pairs[ranks],
        place[order.partners[ranks]],
        order.groups[ranks],
        None if order.clusters is None else order.clusters[ranks],
        rows,
        digested=order.kind == CONTENT,
        contents=None if order.contents is None else order.contents[positions],
    )


class Fingerprint:
    """Running digest of the walked samples, which shows whether two results used the same samples.

    It depends on the samples, their labels, and how they are paired and grouped.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=_BYTES)
        self._sum: int | None = None

    def add(self, window: Window) -> None:
        """Add the samples of a window."""
        if window.singly:
            self._sum = ((self._sum or 0) + _sum_of_digests(window)) % (1 << 8 * _BYTES)
            return
        self._hash.update(str((shape_of(window.store), window.store.dtype)).encode())
        for array in (window.keys, window.groups):
            self._hash.update(np.ascontiguousarray(array).data)
        for values in (None if window.digested else window.inputs, window.labels):
            if is_structured(values):
                self._hash.update(b"".join(map(sample_digest, values)))
            elif values is not None:
                array = values.detach().cpu().contiguous()
                array = array.view(torch.uint8) if array.dtype == torch.bfloat16 else array
                self._hash.update(array.numpy().data)

    def hexdigest(self) -> str:
        """Return the digest so far."""
        return self._hash.hexdigest() if self._sum is None else f"{self._sum:0{2 * _BYTES}x}"


def added(fingerprints: Iterable[str]) -> str:
    """Return the fingerprint of a walk from those of its parts, whose samples were taken one by one.

    >>> added(["0" * 23 + "f", "0" * 23 + "1"])
    '000000000000000000000010'
    """
    return f"{sum(int(part, 16) for part in fingerprints) % (1 << 8 * _BYTES):0{2 * _BYTES}x}"


def _sum_of_digests(window: Window) -> int:
    """Return the sum of digests of rank, key, group, label and, unless it determines the key, content."""
    ranks = window.first + np.arange(len(window))
    facts = np.stack([ranks, window.keys, window.groups], axis=1).astype(np.int64)
    inputs = None if window.digested else window.sample_digests
    total = 0
    for place, fact in enumerate(facts):
        found = hashlib.blake2b(fact.tobytes(), digest_size=_BYTES)
        if window.labels is not None:
            found.update(window.labels[place].numpy().tobytes())
        if inputs is not None:
            found.update(inputs[place])
        total += int.from_bytes(found.digest(), "big")
    return total
