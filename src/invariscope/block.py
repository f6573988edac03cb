"""The responses of one layer to whole orbits: what statistics reduce and actions are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from invariscope.actions.group import Group


class NotApplicableError(ValueError):
    """A layer lacks what a statistic needs; the message says what. The layer is left out and listed."""


class UnclearLayoutError(NotApplicableError):
    """Raised if it is not known which axes of a layer are rows and columns, so no action can be judged."""


UNCLEAR = (
    "its features come last, and the forward does not show which of the other axes are rows and columns: if "
    "it is a map with channels last, read it through a callable that moves its channels to the front"
)


@dataclass(frozen=True)
class Membership:
    """The buckets in which each sample of a block is counted.

    Args:
        buckets: (sample, k) int64; every sample is counted in k buckets.
        strata: (sample, k) int64 the stratum that each of these buckets is a part of; None: all of them 0.
            Sums of one stratum may share what they are relative to; those of different strata never do.
        known: number of strata met so far, in this block or before.

    >>> [(bucket, samples.tolist()) for bucket, samples in Membership(np.array([[1], [0], [1]]))]
    [(0, [1]), (1, [0, 2])]
    """

    buckets: np.ndarray
    strata: np.ndarray | None = None
    known: int = 1

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The order in which visits are sorted by bucket, the buckets met, where each begins, all visits."""
        flat = self.buckets.T.ravel()
        order = np.argsort(flat, kind="stable")
        buckets, starts = np.unique(flat[order], return_index=True)
        return order, buckets, starts, flat

    @cached_property
    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(visit,) samples sorted by bucket, (run + 1,) where each bucket's run begins, (run,) buckets."""
        count, each = self.buckets.shape
        order, buckets, starts, flat = self._sorted
        return np.tile(np.arange(count), each)[order], np.append(starts, len(flat)), buckets

    @cached_property
    def run_strata(self) -> np.ndarray:
        """(run,) the stratum of each run's bucket."""
        order, buckets, starts, _ = self._sorted
        if self.strata is None:
            return np.zeros(len(buckets), np.int64)
        return self.strata.T.ravel()[order[starts]]

    @cached_property
    def by_stratum(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Of each stratum the samples in the order of the block, and the bucket in which each is counted."""
        strata = np.zeros_like(self.buckets) if self.strata is None else self.strata
        found = {}
        for stratum in np.unique(strata).tolist():
            samples, column = np.nonzero(strata == stratum)
            found[stratum] = samples, self.buckets[samples, column]
        return found

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """(bucket, its samples)."""
        samples, edges, buckets = self.runs
        for run, bucket in enumerate(buckets.tolist()):
            yield bucket, samples[edges[run] : edges[run + 1]]

    def take(self, chosen: np.ndarray) -> Membership:
        """Of the chosen samples alone."""
        return replace(
            self, buckets=self.buckets[chosen], strata=None if self.strata is None else self.strata[chosen]
        )


@dataclass(frozen=True)
class Block:
    """Responses of one layer to whole orbits of a few samples.

    Args:
        values: (row, unit...); the response to element j of sample i stands in row
            i·sample_step + j·element_step. One number per row becomes one unit, (row, 1).
        samples: how many samples.
        elements: how many elements of each.
        sample_step, element_step: see `values`; blocks come sample-major or element-major.
        membership: the buckets in which the samples are counted.
        indices: (sample,) int64 positions in the data set.
        labels: (sample,) int64 class numbers, or floats to be predicted, or None.
        names: how many outputs the class names are for, if labels refer to outputs by name.
        unaligned: why labels cannot be compared with the model's outputs; "" if they can.
        keys: (sample,) integers that identify the samples, by which draws are made; by default the indices.
        ranks: (sample,) places in the order of the walk; by default the indices.
        positions, sizes: (sample,) position of a sample within its stratum in the order of the data, and
            the stratum's size.
        probes: columns of the responses to further inputs of each sample, by the probe's name. Column c
            of sample i stands in row i·sample_step + c·element_step; columns from `elements` on lie
            behind the orbit, a smaller one is an element of it.
        partners: (sample,) the sample of this block that each is paired with where pairing is to be
            destroyed, -1 for none; None where nobody asked.
        total: how many samples the whole walk has, where it is known.
        unit_bytes: memory that a state may take for each unit, where a statistic can make do with less.
        act: (maps, indices, keys, inverse) to maps: what the elements should do to (sample, element, unit...)
            maps; raises TypeError where no action is declared. None where nothing is known.
        acting: what is known of the elements beside `act`: their group, how they turn vectors.
        per_sample: whether an element means something else for each sample.
        distances: (sample, column) Euclidean distance of each input from the untransformed sample; None where
            nobody asked.
        clusters: (sample,) int64 or None; neighbours of equal number belong together, such as crops of one
            image. What counts independent observations counts clusters.
        restored: whether the inputs were brought back by the inverse elements before the model saw them, so
            that the action has nothing left to undo.
        input_shape: the shape of one input of the model, such as (3, 32, 32); () where it is not known.
        layer: the layer's name; "" where it does not matter.
        unclear: whether features come last, and it is not known what the other axes are.
        ragged: whether units are (row, unit...) of samples that have different numbers of rows, so that units
            of different blocks are not the same.
    """

    values: Tensor
    samples: int
    elements: int
    sample_step: int
    element_step: int
    membership: Membership
    indices: np.ndarray
    labels: Tensor | None = None
    names: int | None = None
    unaligned: str = ""
    keys: np.ndarray = field(default=None)  # type: ignore[assignment]  # __post_init__ fills both
    ranks: np.ndarray = field(default=None)  # type: ignore[assignment]
    positions: np.ndarray | None = None
    sizes: np.ndarray | None = None
    probes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    partners: np.ndarray | None = None
    clusters: np.ndarray | None = None
    total: int | None = None
    unit_bytes: float = float("inf")
    act: Callable[[Tensor, np.ndarray, np.ndarray, bool], Tensor] | None = None
    acting: ActingElements | None = None
    per_sample: bool = False
    distances: np.ndarray | None = None
    restored: bool = False
    input_shape: tuple[int, ...] = ()
    layer: str = ""
    unclear: bool = False
    ragged: bool = False

    def __post_init__(self) -> None:
        for name in ("keys", "ranks"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.indices)
        if self.values.ndim == 1:
            object.__setattr__(self, "values", self.values[:, None])

    def rows_of(self, samples: np.ndarray, elements: np.ndarray) -> np.ndarray:
        """The rows of the given samples (first axis) and elements (second axis)."""
        return samples[:, None] * self.sample_step + elements[None, :] * self.element_step

    def orbits(self) -> Tensor:
        """The values as (sample, element, unit...), a view."""
        return self._columns(0, self.elements)

    def _columns(self, first: int, count: int) -> Tensor:
        """(sample, column, unit...) a view of so many neighbouring columns."""
        shape, steps = self.values.shape[1:], self.values.stride()
        strides = (self.sample_step * steps[0], self.element_step * steps[0], *steps[1:])
        start = self.values.storage_offset() + first * strides[1]
        return self.values.as_strided((self.samples, count, *shape), strides, start)

    def probe(self, name: str) -> Tensor:
        """(sample, column, unit...) responses to the probe of that name; a view of neighbouring columns.

        Raises:
            KeyError: it was not forwarded.
        """
        columns = self.probes[name]
        if columns == tuple(range(columns[0], columns[0] + len(columns))):
            return self._columns(columns[0], len(columns))
        rows = self.rows_of(np.arange(self.samples), np.array(columns))
        found = self.values[torch.from_numpy(rows.ravel()).to(self.values.device)]
        return found.reshape(*rows.shape, *self.values.shape[1:])

    def rest(self) -> Tensor:
        """(sample, unit...) responses to the untransformed inputs, a view.

        Raises:
            KeyError: they were not forwarded.
        """
        return self.probe("identity")[:, 0]

    @property
    def moving(self) -> np.ndarray:
        """(element,) False for the identity element, if there is one."""
        return np.array([j not in self.probes.get("identity", ()) for j in range(self.elements)])

    def of_partners(self, values: Tensor) -> Tensor:
        """(sample, ...) values of each sample's partner; of any sample for those without a partner."""
        places = np.zeros(self.samples, np.int64) if self.partners is None else np.maximum(self.partners, 0)
        return values[torch.from_numpy(places).to(values.device)]

    def if_paired(self, values: Tensor, otherwise: float = torch.nan) -> Tensor:
        """(sample, ...) the values, with something else for samples without a partner."""
        lonely = np.ones(self.samples, bool) if self.partners is None else self.partners < 0
        mask = torch.from_numpy(lonely).to(values.device)
        return values.masked_fill(mask.view(-1, *(1 for _ in values.shape[1:])), otherwise)

    def undone(self) -> Tensor:
        """(sample, element, unit...) the responses with each element's action undone: t⁻¹a(tx).

        Raises:
            NotApplicableError: the elements have no action, or no inverse, on this layer.
        """
        return self.orbits() if self.restored else self.acted(self.orbits(), inverse=True)

    def moved(self, responses: Tensor) -> Tensor:
        """(sample, element, unit...) what the action makes of (sample, unit...) responses: t a(x).

        Raises:
            NotApplicableError: the elements have no action on this layer.
        """
        copies = responses[:, None].expand(-1, self.elements, *responses.shape[1:])
        return copies if self.restored else self.acted(copies, inverse=False)

    def acted(self, maps: Tensor, *, inverse: bool, samples: slice = slice(None)) -> Tensor:
        """The action of the elements, or of their inverses, on (sample, element, unit...) maps.

        Args:
            maps: of this block's samples, or of some of them.
            inverse: undo the elements instead.
            samples: which samples of the block the maps belong to.
        Raises:
            NotApplicableError: the elements have no action, or no inverse, on this layer.
            UnclearLayoutError: nobody knows which axes they should move.
        """
        if self.act is None:
            raise NotApplicableError("the transform declares no action on feature maps")
        if self.unclear:
            raise UnclearLayoutError(UNCLEAR)
        try:
            return self.act(maps, self.indices[samples], self.keys[samples], inverse)
        except (TypeError, ValueError) as error:
            unclear = getattr(error, "unclear_layout", False)
            raise (UnclearLayoutError if unclear else NotApplicableError)(str(error)) from error
        except (IndexError, KeyError, AttributeError, ArithmeticError, NotImplementedError) as error:
            # From a user's transform: the message alone may say little without the type.
            raise NotApplicableError(f"the action failed with {type(error).__name__}: {error}") from error

    def with_orbits(self, orbits: Tensor) -> Block:
        """The block with other (sample, element, unit...) values in place of the orbits, and no probes."""
        rows = orbits.transpose(0, 1).flatten(0, 1).contiguous()
        return replace(self, values=rows, sample_step=1, element_step=self.samples, probes={})

    @property
    def width(self) -> int:
        """Columns of each sample: the elements, and the probes behind them."""
        return max([self.elements, *(column + 1 for columns in self.probes.values() for column in columns)])

    def repeated(self, counts: np.ndarray) -> Block:
        """The block with sample i standing in it `counts[i]` times (none, for 0)."""
        if (counts == 1).all():
            return self
        chosen = np.repeat(np.arange(self.samples), counts)
        rows = self.rows_of(chosen, np.arange(self.width)).ravel()
        return replace(
            self,
            values=self.values[torch.from_numpy(rows).to(self.values.device)],
            samples=len(chosen),
            sample_step=self.width,
            element_step=1,
            membership=self.membership.take(chosen),
            indices=self.indices[chosen],
            labels=None if self.labels is None else self.labels[torch.from_numpy(chosen)],
            keys=self.keys[chosen],
            ranks=self.ranks[chosen],
            positions=None if self.positions is None else self.positions[chosen],
            sizes=None if self.sizes is None else self.sizes[chosen],
            partners=None if self.partners is None else _kept_partners(self.partners, chosen),
            clusters=None if self.clusters is None else self.clusters[chosen],
            distances=None if self.distances is None else self.distances[chosen],
        )


def _kept_partners(partners: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Where the partners of the chosen samples stand among the chosen; -1 where they are not."""
    place = np.full(len(partners) + 1, -1)
    place[chosen] = np.arange(len(chosen))
    place[-1] = -1
    return place[partners[chosen]]


@dataclass(frozen=True, eq=False)
class ActingElements:
    """A transform's elements as far as an action on a layer must know them.

    Args:
        labels: a name an element.
        table: gives the group table, or None.
        linear: gives the matrices (sample or 1, element, d, d) by which the elements turn vectors in the
            inputs with these indices and keys, or None.
    """

    labels: tuple[str, ...]
    table: Callable[[], np.ndarray | None]
    linear: Callable[[np.ndarray, np.ndarray], np.ndarray | None]

    @cached_property
    def group(self) -> Group | None:
        """The group that the elements are, if they are one."""
        from invariscope.actions.group import Group

        table = self.table()
        return None if table is None else Group(table, self.labels)
