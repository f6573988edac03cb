"""Tables of a few numbers per sample, for measures whose formula needs the numbers of every sample."""

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
    """The rows of all samples so far, in one piece per block.

    Args:
        ranks: (sample,) positions in the order in which samples are measured.
        buckets: (sample, k) the buckets in which each sample is counted.
        columns: (sample, ...) float64, by name.
        size: number of buckets.
        clusters: (sample,) see `Block.clusters`; empty without clusters.
    """

    ranks: list[np.ndarray]
    buckets: list[np.ndarray]
    columns: dict[str, list[np.ndarray]]
    size: int
    clusters: list[np.ndarray] = field(default_factory=list)

    @property
    def counts(self) -> np.ndarray:
        """(bucket,) number of samples."""
        return np.bincount(np.concatenate(self.buckets).ravel(), minlength=self.size)


@dataclass(frozen=True)
class SampleTable:
    """Numbers of the selected samples, in the order in which they are measured.

    Args:
        columns: (sample, ...) float64, by name.
        group: (sample,) each sample's jackknife group.
        groups: number of groups.
        clusters: (sample,) cluster numbers; None if every sample is its own cluster.
    """

    columns: Mapping[str, np.ndarray]
    group: np.ndarray
    groups: int
    clusters: np.ndarray | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        """Return one (sample, ...) column."""
        return self.columns[name]

    @cached_property
    def parts(self) -> tuple[SampleTable, ...]:
        """This table and, if there are at least two groups, the table without each group."""
        if self.groups < 2:
            return (self,)
        kept = [self.group != group for group in range(self.groups)]
        return (self, *(self._of(rows) for rows in kept))

    def _of(self, rows: np.ndarray) -> SampleTable:
        return SampleTable({name: column[rows] for name, column in self.columns.items()}, self.group[rows], 1)

    def decisive(self, contributions: np.ndarray) -> tuple[int, float, float]:
        """Return the number of clusters, Σ d and Σ d² over them, from (sample,) contributions."""
        parts = contributions
        if self.clusters is not None:
            parts = np.bincount(np.unique(self.clusters, return_inverse=True)[1], contributions)
        return len(parts), float(parts.sum()), float((parts * parts).sum())

    def means(self, name: str) -> np.ndarray:
        """Return the (replicate, ...) mean of a column over samples."""
        return self.replicates(lambda part: part[name].mean(axis=0))

    def replicates(self, formula: Callable[[SampleTable], Any]) -> np.ndarray:
        """Return the (replicate, ...) values of a formula for all samples, then with each group left out."""
        return np.stack([np.asarray(formula(part), float) for part in self.parts])


class SampleStatistic(Statistic):
    """A statistic that keeps `rows(block)` of every sample. By design, its state grows with the samples."""

    takes_ragged = True

    @abc.abstractmethod
    def rows(self, block: Block) -> Columns:
        """Return the numbers of each sample in the block, as arrays (sample, ...) by name.

        Raises:
            NotApplicableError: the layer lacks what this statistic needs.
        """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return 0: memory grows with the number of samples, not of buckets."""
        return 0

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> TableState:
        """Return a table without rows, or reject a layer to which the statistic does not apply."""
        one = block.repeated((np.arange(block.samples) == 0).astype(np.int64))
        empty = {name: [_host(column)[:0]] for name, column in self.rows(one).items()}
        return TableState([block.ranks[:0]], [block.membership.buckets[:0]], empty, buckets)

    def update(self, state: TableState, block: Block) -> None:
        """Add the block's samples.

        Raises:
            NonFiniteError: a response is NaN or infinite, including responses to probes.
        """
        finite(block.values)
        for name, column in self.rows(block).items():
            state.columns[name].append(_host(column))
        state.ranks.append(block.ranks)
        state.buckets.append(block.membership.buckets)
        if block.clusters is not None:
            state.clusters.append(block.clusters)

    def enlarge(self, state: TableState, buckets: int) -> None:
        """Append empty buckets."""
        state.size = buckets

    def pack(self, state: TableState) -> dict[str, np.ndarray]:
        """Return the table as arrays."""
        columns = {f"columns.{name}": np.concatenate(parts) for name, parts in state.columns.items()}
        own = {"ranks": np.concatenate(state.ranks), "buckets": np.concatenate(state.buckets)}
        own |= {"clusters": np.concatenate(state.clusters)} if state.clusters else {}
        return own | {"size": np.array(state.size)} | columns

    def unpack(self, arrays: dict[str, np.ndarray]) -> TableState:
        """Restore the table from arrays."""
        columns = {name[8:]: [part] for name, part in arrays.items() if name.startswith("columns.")}
        clusters = [arrays["clusters"]] if "clusters" in arrays else []
        size = arrays["size"].item()
        return TableState([arrays["ranks"]], [arrays["buckets"]], columns, size, clusters)

    def merge(self, first: TableState, second: TableState) -> TableState:
        """Return the rows of both."""
        columns = {name: parts + second.columns[name] for name, parts in first.columns.items()}
        size, clusters = max(first.size, second.size), first.clusters + second.clusters
        own = first.ranks + second.ranks, first.buckets + second.buckets
        return TableState(*own, columns, size, clusters)

    def finalize(self, state: TableState, groups: list[list[int]]) -> SampleTable:
        """Return the rows of the samples in the given buckets, in the order of measurement."""
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
    """Rows that are defined by another object, such as a measure.

    Args:
        of: a hashable object with `rows(block)`, `reads` and `paired`.
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
