"""A few numbers kept for every sample: for measures whose formula needs each of them."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.base import Statistic
from invariscope.statistics.errors import finite

Columns = Mapping[str, Tensor | np.ndarray]


@dataclass
class TableState:
    """What was kept of each sample so far, in pieces, a piece a block.

    Args:
        ranks: (sample,) places in the order of the walk.
        buckets: (sample, k) the buckets in which each is counted.
        columns: (sample, ...) float64, by name.
        size: how many buckets there are.
        clusters: (sample,) see `Block.clusters`; nothing where there are none.
    """

    ranks: list[np.ndarray]
    buckets: list[np.ndarray]
    columns: dict[str, list[np.ndarray]]
    size: int
    clusters: list[np.ndarray] = field(default_factory=list)

    @property
    def counts(self) -> np.ndarray:
        """(bucket,) samples."""
        return np.bincount(np.concatenate(self.buckets).ravel(), minlength=self.size)


@dataclass(frozen=True)
class SampleTable:
    """Numbers of the chosen samples, in the order of the walk.

    Args:
        columns: (sample, ...) float64, by name.
        group: (sample,) the jackknife group of each.
        groups: how many groups there are.
        clusters: (sample,) numbers of the clusters to which samples belong; None: every sample is one.
    """

    columns: Mapping[str, np.ndarray]
    group: np.ndarray
    groups: int
    clusters: np.ndarray | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        """(sample, ...) one column, of all samples."""
        return self.columns[name]

    @cached_property
    def parts(self) -> tuple[SampleTable, ...]:
        """This table and, where there are two groups or more, the table without each group."""
        if self.groups < 2:
            return (self,)
        kept = [self.group != group for group in range(self.groups)]
        return (self, *(self._of(rows) for rows in kept))

    def _of(self, rows: np.ndarray) -> SampleTable:
        return SampleTable({name: column[rows] for name, column in self.columns.items()}, self.group[rows], 1)

    def decisive(self, contributions: np.ndarray) -> tuple[int, float, float]:
        """Number of clusters, Σ d and Σ d² over them, d what their samples add."""
        parts = contributions
        if self.clusters is not None:
            parts = np.bincount(np.unique(self.clusters, return_inverse=True)[1], contributions)
        return len(parts), float(parts.sum()), float((parts * parts).sum())

    def means(self, name: str) -> np.ndarray:
        """(replicate, ...) mean of a column over samples."""
        return self.replicates(lambda part: part[name].mean(axis=0))

    def replicates(self, formula: Callable[[SampleTable], Any]) -> np.ndarray:
        """(replicate, ...) a formula over all samples, then over all but each group's."""
        return np.stack([np.asarray(formula(part), float) for part in self.parts])


class SampleStatistic(Statistic):
    """A statistic that keeps `rows(block)` of every sample. It grows with the samples, by design."""

    takes_ragged = True

    @abc.abstractmethod
    def rows(self, block: Block) -> Columns:
        """(sample, ...) numbers of each sample of the block, by name.

        Raises:
            NotApplicableError: the layer lacks what this statistic needs.
        """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Nothing grows with the buckets."""
        return 0

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> TableState:
        """A table without rows; a layer to which the statistic does not apply is refused here."""
        one = block.repeated((np.arange(block.samples) == 0).astype(np.int64))
        empty = {name: [_host(column)[:0]] for name, column in self.rows(one).items()}
        return TableState([block.ranks[:0]], [block.membership.buckets[:0]], empty, buckets)

    def update(self, state: TableState, block: Block) -> None:
        """Adds the block's samples.

        Raises:
            NonFiniteError: a response is NaN or infinite, those to probes included.
        """
        finite(block.values)
        for name, column in self.rows(block).items():
            state.columns[name].append(_host(column))
        state.ranks.append(block.ranks)
        state.buckets.append(block.membership.buckets)
        if block.clusters is not None:
            state.clusters.append(block.clusters)

    def enlarge(self, state: TableState, buckets: int) -> None:
        """Room for more buckets."""
        state.size = buckets

    def pack(self, state: TableState) -> dict[str, np.ndarray]:
        """The table as arrays."""
        columns = {f"columns.{name}": np.concatenate(parts) for name, parts in state.columns.items()}
        own = {"ranks": np.concatenate(state.ranks), "buckets": np.concatenate(state.buckets)}
        own |= {"clusters": np.concatenate(state.clusters)} if state.clusters else {}
        return own | {"size": np.array(state.size)} | columns

    def unpack(self, arrays: dict[str, np.ndarray]) -> TableState:
        """The table from arrays."""
        columns = {name[8:]: [part] for name, part in arrays.items() if name.startswith("columns.")}
        clusters = [arrays["clusters"]] if "clusters" in arrays else []
        size = arrays["size"].item()
        return TableState([arrays["ranks"]], [arrays["buckets"]], columns, size, clusters)

    def merge(self, first: TableState, second: TableState) -> TableState:
        """The rows of both."""
        columns = {name: parts + second.columns[name] for name, parts in first.columns.items()}
        size, clusters = max(first.size, second.size), first.clusters + second.clusters
        own = first.ranks + second.ranks, first.buckets + second.buckets
        return TableState(*own, columns, size, clusters)

    def finalize(self, state: TableState, groups: list[list[int]]) -> SampleTable:
        """The rows of the samples in the given buckets, in the order of the walk."""
        buckets, ranks = np.concatenate(state.buckets), np.concatenate(state.ranks)
        group = np.full(len(ranks), -1)
        for number, members in enumerate(groups):
            group[np.isin(buckets, members).any(axis=1)] = number
        rows = np.flatnonzero(group >= 0)
        rows = rows[np.argsort(ranks[rows], kind="stable")]
        columns = {name: np.concatenate(parts)[rows] for name, parts in state.columns.items()}
        clusters = np.concatenate(state.clusters)[rows] if state.clusters else None
        return SampleTable(columns, group[rows], len(groups), clusters)


@dataclass(frozen=True)
class SampleRows(SampleStatistic):
    """The rows of whatever says itself what they are, such as a measure.

    Args:
        of: hashable, with `rows(block)`, `reads` and `paired`.
    """

    of: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", self.of.reads)
        object.__setattr__(self, "paired", self.of.paired)

    def rows(self, block: Block) -> Columns:
        """Delegate to `of`."""
        return self.of.rows(block)


def _host(column: Tensor | np.ndarray) -> np.ndarray:
    array = column.detach().cpu().numpy() if isinstance(column, Tensor) else np.asarray(column)
    return array.astype(np.float64, copy=False)
