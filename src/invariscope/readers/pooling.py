"""Pool the rows of a sample in a layer (tokens, nodes, atoms), or keep them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.common.samples import field
from invariscope.readers.torch.axes import BatchAxis

_KINDS = ("mean", "sum", "max")
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Pool:
    r"""Pooling of the rows of each sample (tokens, nodes, atoms) into one row of units.

    .. math:: a_i = \frac{1}{|R_i|} \sum_{r \in R_i} a_r

    R_i are the rows of sample i: entries of a padded axis that a mask marks, or rows that an index assigns
    to it.

    Caveats: means and sums do not change if rows are permuted, so the permutation variance of a layer that
    mixes up atoms can be 0. Likewise, the forces on the atoms of a sample may sum to zero. `iv.Rows` keeps
    rows apart. The mean and the maximum of a sample without rows are NaN.

    Args:
        kind: "mean", "sum" or "max".
        mask: name of the (sample, entry) field of the batch that marks the entries of a padded axis to pool.
        index: name of the (row,) field of the batch with the sample of each row, counted from 0.
    Raises:
        ValueError: an unknown kind, or not exactly one of mask and index.
    """

    kind: str = "mean"
    mask: Any = None
    index: Any = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown("pooling", str(self.kind), _KINDS)
        if (self.mask is None) == (self.index is None):
            raise ValueError("Pool needs either mask= (a padded axis) or index= (rows of several samples)")


@dataclass(frozen=True)
class Rows:
    """Rows of each sample (nodes, atoms) that are kept apart and compared one by one.

    Use it for vectors per atom, and whenever pooling would hide a permutation of rows. Measures that need the
    same units in every sample do not apply; measures that compare rows within a sample do.

    Args:
        index: name of the (row,) field of the batch with the sample of each row, counted from 0.
    """

    index: Any


Pooling: TypeAlias = "Pool | Rows"


def as_pooling(given: Any) -> dict[str, Pooling]:
    """Return the user's choice as {glob: Pool or Rows}; a single Pool or Rows applies to all layers.

    Raises:
        TypeError: anything else.
    """
    if given is None:
        return {}
    if isinstance(given, Pool | Rows):
        return {"*": given}
    if not isinstance(given, Mapping) or not all(isinstance(v, Pool | Rows) for v in given.values()):
        raise TypeError(
            "pool= must be a mapping {name or glob of layers: iv.Pool(...) or iv.Rows(...)}; "
            f"got {type(given).__name__}"
        )
    return dict(given)


def pooling_of(poolings: Mapping[str, Pooling], layer: str) -> Pooling | None:
    """Return the pooling of a layer, from the first pattern that matches its name; None if none does."""
    return next((found for pattern, found in poolings.items() if matches(pattern, layer)), None)


@dataclass(frozen=True)
class PooledAxis:
    """Position of the rows of samples in a layer's tensor, as found in trial forward passes.

    Args:
        pooling: whether and how to pool the rows.
        axis: axis of the samples (with a mask) or of the rows (with an index).
        entries: the padded axis, if there is a mask.
    """

    pooling: Pooling
    axis: int = 0
    entries: int = 1

    plain = False
    per_sample = 1

    def problem(self, tensor: Tensor, batch: Any, rows: int) -> str:
        """Return why a tensor cannot be pooled, or ""."""
        expected = self._expected(batch, rows)
        shape = tuple(tensor.shape)
        if len(shape) <= max(expected):
            return f"it has shape {shape}, without the axes to pool"
        wrong = {axis: size for axis, size in expected.items() if shape[axis] != size}
        if wrong:
            axis, size = next(iter(wrong.items()))
            return f"it has shape {shape}, but axis {axis} should hold {size} {self._counted}"
        return ""

    @property
    def _counted(self) -> str:
        own = self.pooling
        masked = isinstance(own, Pool) and own.mask is not None
        return f"entries of {getattr(own, 'mask', None)!r}" if masked else f"rows of {own.index!r}"

    def _expected(self, batch: Any, rows: int) -> dict[int, int]:
        mask = getattr(self.pooling, "mask", None)
        if mask is None:
            return {self.axis: len(index_of(batch, self.pooling.index, rows))}
        return {self.axis: rows, self.entries: mask_of(batch, mask, rows).shape[1]}

    def arrange(self, tensor: Tensor, batch: Any, rows: int) -> Tensor:
        """Return pooled values (sample, unit...) or, for `Rows`, all rows (row, unit...)."""
        own = self.pooling
        if isinstance(own, Rows):
            return tensor.movedim(self.axis, 0)
        if own.mask is None:
            values = tensor.movedim(self.axis, 0)
            return _by_index(own.kind, values, index_of(batch, own.index, rows).to(values.device), rows)
        values = tensor.movedim((self.axis, self.entries), (0, 1))
        return _by_mask(own.kind, values, mask_of(batch, own.mask, rows).to(values.device))

    def row_of(self, batch: Any, rows: int) -> Tensor | None:
        """Return the sample of each row, (row,), for `Rows`; None if rows are pooled."""
        return index_of(batch, self.pooling.index, rows) if isinstance(self.pooling, Rows) else None


def locate(pooling: Pooling, trials: Sequence[tuple[Tensor, Any, int]]) -> PooledAxis | str:
    """Return where the rows of the samples are in a layer's tensor, or why they cannot be found.

    Args:
        trials: the layer's tensor, the batch and the number of samples in several forward passes. The number
            and size of samples vary, so that axes whose sizes agree by accident in one pass differ in
            another.
    """
    tensor, batch, rows = trials[0]
    found = _places(pooling, tensor, batch, rows)
    for trial in trials[1:]:
        found = [place for place in found if place in _places(pooling, *trial)] or found
    shape, mask = tuple(tensor.shape), getattr(pooling, "mask", None)
    if mask is None:
        count = len(index_of(batch, pooling.index, rows))
        return (
            PooledAxis(pooling, *found[0])
            if found
            else f"it has shape {shape}, with no axis for the {count} rows of {pooling.index!r}"
        )
    entries = mask_of(batch, mask, rows).shape[1]
    others = [axis for samples, axis in found if samples == found[0][0]]
    if not others:
        return f"it has shape {shape}, with no axes for the {rows} samples and {entries} entries of {mask!r}"
    if len(others) > 1:
        return f"it has shape {shape}, with axes {others} that all fit the {entries} entries of {mask!r}"
    return PooledAxis(pooling, *found[0])


def _places(pooling: Pooling, tensor: Tensor, batch: Any, rows: int) -> list[tuple[int, int]]:
    """Return all (axis, entries), as in `PooledAxis`, that may hold the rows of samples in a tensor."""
    shape, mask = tuple(tensor.shape), getattr(pooling, "mask", None)
    if mask is None:
        count = len(index_of(batch, pooling.index, rows))
        return [(axis, 1) for axis, size in enumerate(shape) if size == count]
    entries = mask_of(batch, mask, rows).shape[1]
    return [
        (samples, axis)
        for samples in (0, 1)
        if samples < len(shape) and shape[samples] == rows
        for axis, size in enumerate(shape)
        if size == entries and axis != samples
    ]


def mask_of(batch: Any, name: Any, rows: int) -> Tensor:
    """Return the (sample, entry) mask in a batch.

    Raises:
        ValueError: the batch has no such field, or the field has a wrong shape or values other than 0 and 1.
    """
    found = field(batch, name)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != rows:
        came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"the mask {name!r} must be a tensor of shape ({rows}, entries); got {came}")
    if found.dtype != torch.bool and bool(((found != 0) & (found != 1)).any()):
        raise ValueError(
            f"the mask {name!r} must hold 1 for entries that count and 0 for the others; it holds values "
            f"from {float(found.min()):g} to {float(found.max()):g}"
        )
    return found


def index_of(batch: Any, name: Any, rows: int) -> Tensor:
    """Return the (row,) index in a batch.

    Raises:
        ValueError: the batch has no such field, or the field is not a sorted index of the samples.
    """
    found = field(batch, name)
    if not isinstance(found, Tensor) or found.ndim != 1 or found.dtype not in _INTEGERS:
        came = (
            f"{found.dtype} of shape {tuple(found.shape)}"
            if isinstance(found, Tensor)
            else type(found).__name__
        )
        raise ValueError(f"the index {name!r} must be a tensor of integers, one per row; got {came}")
    if len(found) and (int(found.min()) < 0 or int(found.max()) >= rows):
        raise ValueError(
            f"the index {name!r} must run from 0 to {rows - 1}, one number per sample; it runs from "
            f"{int(found.min())} to {int(found.max())}"
        )
    if bool((found[1:] < found[:-1]).any()):
        raise ValueError(
            f"the index {name!r} must be sorted: the rows of sample 0 first, then those of sample 1, ...; "
            "sort the rows in preprocess="
        )
    return found


def _by_mask(kind: str, values: Tensor, mask: Tensor) -> Tensor:
    """Pool values (sample, entry, unit...) to (sample, unit...)."""
    counts = mask.bool().view(*mask.shape, *(1 for _ in values.shape[2:]))
    if kind == "max":
        return _or_nan(values.masked_fill(~counts, float("-inf")).amax(1), counts.any(1))
    total = torch.where(counts, values, torch.zeros((), dtype=values.dtype, device=values.device)).sum(1)
    return total if kind == "sum" else total / counts.sum(1)


def _by_index(kind: str, values: Tensor, index: Tensor, rows: int) -> Tensor:
    """Pool values (row, unit...) to (sample, unit...)."""
    found, index = values.new_zeros(rows, *values.shape[1:]), index.long()
    counts = torch.bincount(index, minlength=rows).view(-1, *(1 for _ in values.shape[1:]))
    if kind == "max":
        where = index.view(-1, *(1 for _ in values.shape[1:])).expand_as(values)
        return _or_nan(found.scatter_reduce(0, where, values, "amax", include_self=False), counts > 0)
    found = found.index_add(0, index, values)
    return found if kind == "sum" else found / counts.to(values.dtype)


def _or_nan(values: Tensor, known: Tensor) -> Tensor:
    return values.masked_fill(~known, float("nan"))


def arranged(axis: BatchAxis | PooledAxis, tensor: Tensor, batch: Any, rows: int) -> Tensor:
    """Return a layer's values for this batch: (sample, unit...) or, for `Rows`, (row, unit...)."""
    return axis.arrange(tensor, batch, rows) if isinstance(axis, PooledAxis) else axis.arrange(tensor, rows)
