"""The responses of one layer to whole orbits, as statistics and actions receive them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from invariscope.unit_draw import UnitDraw

if TYPE_CHECKING:
    from invariscope.actions.group import Group


class NotApplicableError(ValueError):
    """Raised, with the reason, if a statistic does not apply to a layer; the layer is left out and listed."""


class UnclearLayoutError(NotApplicableError):
    """Raised if no action applies to a layer because it is unclear which axes are rows and columns."""


UNCLEAR = (
    "its features come last, and the forward pass does not show which other axes are rows and columns; "
    "if it is a map with channels last, read it through a callable that moves the channels to the front"
)


@dataclass(frozen=True)
class Membership:
    """The buckets in which each sample of a block is counted.

    Args:
        buckets: (sample, k) int64 the k buckets in which each sample is counted.
        strata: (sample, k) int64 the stratum of each of these buckets; None: all are 0. Sums of one stratum
            may share a reference point; sums of different strata never do.
        known: number of strata that have occurred so far, in this block or earlier ones.
        overall: whether bucket 0, of stratum 0, is reserved for all samples together. Statistics with a
            reference point that the samples of all strata must share count there what depends on it.

    >>> [(bucket, samples.tolist()) for bucket, samples in Membership(np.array([[1], [0], [1]]))]
    [(0, [1]), (1, [0, 2])]
    """

    buckets: np.ndarray
    strata: np.ndarray | None = None
    known: int = 1
    overall: bool = False

    @cached_property
    def and_overall(self) -> Membership:
        """The same buckets and, if there is one, that of all samples together."""
        if not self.overall:
            return self
        assert self.strata is not None
        buckets, strata = (np.insert(part, 0, 0, axis=1) for part in (self.buckets, self.strata))
        return Membership(buckets, strata, self.known, overall=True)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The order that sorts visits by bucket, the distinct buckets, the start of each, and all visits."""
        flat = self.buckets.T.ravel()
        order = np.argsort(flat, kind="stable")
        buckets, starts = np.unique(flat[order], return_index=True)
        return order, buckets, starts, flat

    @cached_property
    def runs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(visit,) samples sorted by bucket, (run + 1,) edges of each bucket's run, (run,) buckets."""
        count, each = self.buckets.shape
        order, buckets, starts, flat = self._sorted
        return np.tile(np.arange(count), each)[order], np.append(starts, len(flat)), buckets

    @cached_property
    def run_strata(self) -> np.ndarray:
        """(run,) stratum of each run's bucket."""
        order, buckets, starts, _ = self._sorted
        if self.strata is None:
            return np.zeros(len(buckets), np.int64)
        return self.strata.T.ravel()[order[starts]]

    @cached_property
    def by_stratum(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """For each stratum, its samples in the order of the block, and the bucket of each sample."""
        strata = np.zeros_like(self.buckets) if self.strata is None else self.strata
        found = {}
        for stratum in np.unique(strata).tolist():
            samples, column = np.nonzero(strata == stratum)
            found[stratum] = samples, self.buckets[samples, column]
        return found

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each bucket with its samples."""
        samples, edges, buckets = self.runs
        for run, bucket in enumerate(buckets.tolist()):
            yield bucket, samples[edges[run] : edges[run + 1]]

    def column(self, k: int) -> Membership:
        """Return only the k-th bucket of each sample."""
        return replace(
            self, buckets=self.buckets[:, [k]], strata=None if self.strata is None else self.strata[:, [k]]
        )

    def take(self, chosen: np.ndarray) -> Membership:
        """Return the membership of the chosen samples."""
        return replace(
            self, buckets=self.buckets[chosen], strata=None if self.strata is None else self.strata[chosen]
        )


# Arrays of a block with one entry per sample.
_PER_SAMPLE = ("indices", "keys", "ranks", "positions", "sizes", "clusters", "distances")


@dataclass(frozen=True)
class Block:
    """Responses of one layer to whole orbits of a few samples.

    Args:
        values: (row, unit...); the response to element j of sample i is in row
            i·sample_step + j·element_step. One number per row becomes one unit, (row, 1).
        samples: number of samples.
        elements: number of elements per sample.
        sample_step, element_step: see `values`; blocks are sample-major or element-major.
        membership: buckets in which the samples are counted.
        indices: (sample,) int64 positions in the data.
        labels: (sample,) int64 class numbers, or floats to be predicted, or None.
        names: number of class names given, if labels are words that refer to the model's outputs by name.
        unaligned: why labels cannot be compared with the model's outputs; "" if they can.
        keys: (sample,) integers that identify the samples and seed their draws; by default the indices.
        ranks: (sample,) positions in the order in which samples are measured; by default the indices.
        positions, sizes: (sample, k) position of a sample within the stratum of each of its buckets, in the
            order of the data, and the stratum's size; (sample,) if they are the same for all k.
        probes: columns of the responses to further inputs of each sample, by the probe's name. Column c of
            sample i is in row i·sample_step + c·element_step; columns from `elements` on follow the orbit,
            and smaller ones are elements of it.
        partners: (sample,) position in this block of each sample's partner for nulls, -1 for none; None if
            not needed.
        total: number of samples to be measured in all, if known.
        unit_bytes: number of bytes that a state may take per unit, for statistics that can adapt to it.
        act: (maps, indices, keys, inverse) -> maps; applies the action of the elements to (sample, element,
            unit...) maps, and raises TypeError if the transform declares no action. None if unknown.
        acting: further facts about the elements: their group, and how they act on vectors.
        per_sample: whether elements differ between samples.
        distances: (sample, column) Euclidean distance of each input from the untransformed sample; None if
            not needed.
        clusters: (sample,) int64 or None; neighbours with equal numbers belong together, such as crops of
            one image. Counts of independent observations count clusters.
        restored: whether the inputs were transformed back before the model saw them, so that no action
            needs to be undone.
        input_shape: shape of one input of the model, such as (3, 32, 32); () if unknown.
        layer: name of the layer; "" if irrelevant.
        unclear: whether features come last, and the other axes may or may not be rows and columns.
        ragged: whether units are (row, unit...) of samples with different numbers of rows, so that units of
            different blocks do not correspond.
        draw: the units that are drawn from the layer, for statistics that treat units one by one; None: all.
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
    draw: UnitDraw | None = None

    def __post_init__(self) -> None:
        for name in ("keys", "ranks"):
            if getattr(self, name) is None:
                object.__setattr__(self, name, self.indices)
        if self.values.ndim == 1:
            object.__setattr__(self, "values", self.values[:, None])

    @property
    def drawn(self) -> Block:
        """The block with the drawn units only, as (row, drawn) values; the block itself without a draw."""
        # A block that cached itself would keep its layer's responses until the garbage collector runs.
        return self if self.draw is None else self._drawn

    @cached_property
    def _drawn(self) -> Block:
        assert self.draw is not None
        return replace(self, values=self.draw.take(self.values), draw=None)

    def rows_of(self, samples: np.ndarray, elements: np.ndarray) -> np.ndarray:
        """Return the (sample, element) rows of the given samples and elements."""
        return samples[:, None] * self.sample_step + elements[None, :] * self.element_step

    def orbits(self) -> Tensor:
        """Return a view of the values as (sample, element, unit...)."""
        return self._columns(0, self.elements)

    def _columns(self, first: int, count: int) -> Tensor:
        """Return a view of the (sample, column, unit...) values of adjacent columns."""
        shape, steps = self.values.shape[1:], self.values.stride()
        strides = (self.sample_step * steps[0], self.element_step * steps[0], *steps[1:])
        start = self.values.storage_offset() + first * strides[1]
        return self.values.as_strided((self.samples, count, *shape), strides, start)

    def probe(self, name: str) -> Tensor:
        """Return the (sample, column, unit...) responses to a probe; a view if its columns are adjacent.

        Raises:
            KeyError: the probe was not forwarded.
        """
        columns = self.probes[name]
        if columns == tuple(range(columns[0], columns[0] + len(columns))):
            return self._columns(columns[0], len(columns))
        rows = self.rows_of(np.arange(self.samples), np.array(columns))
        found = self.values[torch.from_numpy(rows.ravel()).to(self.values.device)]
        return found.reshape(*rows.shape, *self.values.shape[1:])

    def rest(self) -> Tensor:
        """Return a view of the (sample, unit...) responses to the untransformed inputs.

        Raises:
            KeyError: the untransformed inputs were not forwarded.
        """
        return self.probe("identity")[:, 0]

    @property
    def moving(self) -> np.ndarray:
        """(element,) False for the identity element, if there is one."""
        return np.array([j not in self.probes.get("identity", ()) for j in range(self.elements)])

    def of_partners(self, values: Tensor) -> Tensor:
        """Return the (sample, ...) values of each sample's partner; arbitrary values without a partner."""
        places = np.zeros(self.samples, np.int64) if self.partners is None else np.maximum(self.partners, 0)
        return values[torch.from_numpy(places).to(values.device)]

    def if_paired(self, values: Tensor, otherwise: float = torch.nan) -> Tensor:
        """Return the (sample, ...) values, replaced by `otherwise` for samples without a partner."""
        lonely = np.ones(self.samples, bool) if self.partners is None else self.partners < 0
        mask = torch.from_numpy(lonely).to(values.device)
        return values.masked_fill(mask.view(-1, *(1 for _ in values.shape[1:])), otherwise)

    def undone(self) -> Tensor:
        """Return the (sample, element, unit...) responses with each element's action undone, t⁻¹a(tx).

        Raises:
            NotApplicableError: the elements have no action, or no inverse, on this layer.
        """
        return self.orbits() if self.restored else self.acted(self.orbits(), inverse=True)

    def acted(self, maps: Tensor, *, inverse: bool, samples: slice = slice(None)) -> Tensor:
        """Apply the elements, or their inverses, to (sample, element, unit...) maps.

        Args:
            maps: maps of all or some samples of this block.
            inverse: apply the inverse elements.
            samples: the samples of the block to which the maps belong.
        Raises:
            NotApplicableError: the elements have no action, or no inverse, on this layer.
            UnclearLayoutError: it is not known which axes are rows and columns.
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
            # The error comes from a user's transform: without its type, the message may be unclear.
            raise NotApplicableError(f"the action failed with {type(error).__name__}: {error}") from error

    def with_orbits(self, orbits: Tensor) -> Block:
        """Return the block with other (sample, element, unit...) values in its orbits, without probes."""
        rows = orbits.transpose(0, 1).flatten(0, 1).contiguous()
        return replace(self, values=rows, sample_step=1, element_step=self.samples, probes={})

    @property
    def width(self) -> int:
        """Number of columns per sample: the elements, and the probes that follow them."""
        return max([self.elements, *(column + 1 for columns in self.probes.values() for column in columns)])

    def repeated(self, counts: np.ndarray) -> Block:
        """Return the block in which sample i occurs `counts[i]` times."""
        if (counts == 1).all():
            return self
        chosen = np.repeat(np.arange(self.samples), counts)
        rows = self.rows_of(chosen, np.arange(self.width)).ravel()
        taken = {name: own[chosen] for name in _PER_SAMPLE if (own := getattr(self, name)) is not None}
        return replace(
            self,
            values=self.values[torch.from_numpy(rows).to(self.values.device)],
            samples=len(chosen),
            sample_step=self.width,
            element_step=1,
            membership=self.membership.take(chosen),
            labels=None if self.labels is None else self.labels[torch.from_numpy(chosen)],
            partners=None if self.partners is None else _kept_partners(self.partners, chosen),
            **taken,
        )


def _kept_partners(partners: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the positions of the chosen samples' partners among the chosen; -1 if not chosen."""
    place = np.full(len(partners) + 1, -1)
    place[chosen] = np.arange(len(chosen))
    place[-1] = -1
    return place[partners[chosen]]


@dataclass(frozen=True, eq=False)
class ActingElements:
    """Facts about a transform's elements that an action on a layer needs.

    Args:
        labels: one name per element.
        table: returns the group table, or None.
        linear: returns the (sample or 1, element, d, d) matrices by which the elements act on vectors in the
            inputs with these indices and keys, or None.
        in_place_of: the elements of another transform, if all elements of this one are its identity.
    """

    labels: tuple[str, ...]
    table: Callable[[], np.ndarray | None]
    linear: Callable[[np.ndarray, np.ndarray], np.ndarray | None]
    in_place_of: ActingElements | None = None

    @cached_property
    def group(self) -> Group | None:
        """The group formed by the elements; None if they do not form one."""
        from invariscope.actions.group import Group

        table = self.table()
        return None if table is None else Group(table, self.labels)
