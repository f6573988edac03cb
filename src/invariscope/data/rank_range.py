"""A contiguous part of a source's walk, for one of several processes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from torch import Tensor

from invariscope.data.order import Order
from invariscope.data.source import Source
from invariscope.data.sources import ArraySource, DatasetSource
from invariscope.data.window import Fingerprint, Window


class RankRange(Source):
    """The samples of another source with ranks in one of `count` contiguous ranges.

    Ranges are cut between pairs, or between pairs of clusters, and hold about the same number of pairs. Keys,
    pairs, groups and partners are those of the whole walk.

    Args:
        whole: the source of all samples.
        index: number of the range, from 0.
        count: number of ranges.
    Raises:
        ValueError: fewer pairs than ranges.
    """

    def __init__(self, whole: ArraySource | DatasetSource, index: int, count: int) -> None:
        self.whole, self.index, self.count = whole, index, count
        self.name, self.labelling, self.collate = whole.name, whole.labelling, whole.collate
        self.note = whole.note
        self.order: Order | None = whole.order
        self.low, self.high = bounds(whole.order.pairs, index, count)

    @property
    def length(self) -> int:
        """Number of samples in the range."""
        return self.high - self.low

    @property
    def complete(self) -> Source:
        """The source of all samples."""
        return self.whole

    @property
    def labels(self) -> Tensor | None:
        """All labels of the complete source in the order of its walk, if known beforehand."""
        return self.whole.labels

    @cached_property
    def known_labels(self) -> Tensor | None:
        """All labels of the complete source; those of a dataset take a pass over its items."""
        return self.whole.read_labels()

    def windows(self) -> Iterator[Window]:
        """Yield the samples of the range."""
        yield from self.whole.between(self.low, self.high)

    def before(self) -> Window:
        """Return the first window of the complete source."""
        return next(self.whole.windows())

    def first_of_strata(self, *, by_class: bool, samples: int) -> Window:
        """Return the first samples of the complete source and, with classes, of each class."""
        ranks = [np.arange(min(samples, len(self.whole.order)))]
        if by_class and self.known_labels is not None:
            values = self.known_labels.cpu().numpy()
            ranks += [np.flatnonzero(values == value)[:samples] for value in np.unique(values)]
        return self.whole.chosen(np.unique(np.concatenate(ranks)))

    @cached_property
    def fingerprint_of_all(self) -> str:
        """Fingerprint of the complete walk; "" if that takes a pass over a dataset."""
        if not isinstance(self.whole, ArraySource):
            return ""
        digest = Fingerprint()
        for window in self.whole.windows():
            digest.add(window)
        return digest.hexdigest()


def bounds(pairs: np.ndarray, index: int, count: int) -> tuple[int, int]:
    """Return the first rank of a range, and the first rank after it.

    Args:
        pairs: (rank,) pair numbers, ascending.
        index, count: see `RankRange`.

    >>> [bounds(np.array([0, 0, 1, 1, 2, 2, 2]), index, 2) for index in (0, 1)]
    [(0, 2), (2, 7)]
    """
    last = int(pairs[-1]) + 1
    if count > last:
        raise ValueError(
            f"{len(pairs)} samples cannot be divided into {count} shards, because the null pairs them and a "
            f"pair stays together; use at most {last}"
        )
    low, high = np.searchsorted(pairs, [index * last // count, (index + 1) * last // count])
    return int(low), int(high)
