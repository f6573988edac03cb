"""The base class of sources, which yield samples in the order of the walk."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.data.labels import Labelling
from invariscope.data.order import INDEX, Order
from invariscope.data.window import Window


class Source(abc.ABC):
    """A finite sequence of samples that can be walked in bounded memory.

    Args:
        order: keys, ranks, pairs and groups, if they are known before the walk.
        collate: function that makes a batch from structured samples, if the data provide one.
        note: a remark on the data for the result, if the data have one.
        least: number of samples below which a walk is refused.
    """

    name: str = "data"
    labelling: Labelling
    order: Order | None = None
    collate: Callable[[Any], Any] | None = None
    note: str = ""
    least: int = 2

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names, if there are any."""
        return self.labelling.classes

    @property
    @abc.abstractmethod
    def length(self) -> int | None:
        """Number of samples, if known beforehand."""

    @property
    def labels(self) -> Tensor | None:
        """All labels in the order of the walk, if known beforehand."""
        return None

    @property
    def complete(self) -> Source:
        """The source of all samples, if this one yields only some of them."""
        return self

    @property
    def total(self) -> int | None:
        """Number of samples of the complete source, if known beforehand."""
        return self.complete.length

    @abc.abstractmethod
    def windows(self) -> Iterator[Window]:
        """Yield the samples in the order of the walk."""

    def before(self) -> Window | None:
        """Return the first samples of the complete source, if they are not the first that this one yields."""
        return None

    def first_of_strata(self, *, by_class: bool, samples: int) -> Window | None:
        """Return the first samples of each stratum of the complete source, unless this source yields them."""
        return None

    @property
    def keys_by_position(self) -> np.ndarray | None:
        """(sample,) keys in the order of the data; None if indices serve as keys."""
        return None if self.order is None else self.order.keys

    def walked(self) -> dict[str, str]:
        """Return the kind of keys and the order of the walk, for the provenance."""
        if self.order is None:
            return {"keys": INDEX, "order": "arrival"}
        return {"keys": self.order.kind, "order": "arrival" if self.order.arrival else "rank"}
