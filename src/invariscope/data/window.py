"""Consecutive samples of the walk over the data, and a digest of all walked samples."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.samples import Inputs, is_structured, sample_digest, shape_of, taken
from invariscope.data.order import CONTENT, Order


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

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def inputs(self) -> Inputs:
        """(sample, ...) all inputs; a copy if the store has a different order."""
        return self.store if self.rows is None else self.take(np.arange(len(self)))

    def take(self, chosen: np.ndarray) -> Inputs:
        """Return the (chosen, ...) inputs of some samples."""
        return taken(self.store, chosen if self.rows is None else self.rows[chosen])

    def part(self, low: int, high: int) -> Window:
        """Return the samples from `low` up to but excluding `high`; partners outside that range become -1."""
        mates = self.partners[low:high] - low
        mates = np.where((mates < 0) | (mates >= high - low), -1, mates)
        cut: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[low:high]
            for name in ("labels", "indices", "keys", "pairs", "groups", "clusters")
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
    )


class Fingerprint:
    """Running digest of the walked samples, which shows whether two results used the same samples.

    It depends on the samples, their labels, and how they are paired and grouped.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=12)

    def add(self, window: Window) -> None:
        """Add the samples of a window."""
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
        return self._hash.hexdigest()
