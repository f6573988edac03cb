"""Find the batch axis of a layer's tensor, and move it to the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from jaxtyping import Shaped
    from torch import Tensor


NO_AXIS = "no axis follows the batch size"
NO_UNITS = "it has no units: an axis is empty"


@dataclass(frozen=True, slots=True)
class BatchAxis:
    """The position of the samples in a tensor.

    Args:
        axis: the axis whose size follows the batch size.
        per_sample: number of rows per sample: 1, or more for windows and batch × heads.
        sample_major: whether the rows of a sample are adjacent (windows, heads); otherwise samples alternate
            (torch.cat of several branches).
        channels_last: whether a sample is a map (row, column..., channel), to be passed on with channels
            first.
    """

    axis: int
    per_sample: int = 1
    sample_major: bool = True
    channels_last: bool = field(default=False, repr=False)

    @property
    def plain(self) -> bool:
        """Whether the tensor already is (batch, *unit)."""
        return self.axis == 0 and self.per_sample == 1 and not self.channels_last

    def holds(self, shape: Sequence[int], batch: int) -> bool:
        """Return whether a tensor of this shape has the batch on this axis."""
        return len(shape) > self.axis and shape[self.axis] == batch * self.per_sample

    def arrange(self, tensor: Shaped[Tensor, " ..."], batch: int) -> Shaped[Tensor, "batch ..."]:
        """Return a view with the batch first, then channels; rows of a sample become the first unit axis."""
        front = tensor.movedim(self.axis, 0)
        if self.per_sample == 1:
            return front.movedim(-1, 1) if self.channels_last else front
        if self.sample_major:
            return front.unflatten(0, (batch, self.per_sample))
        return front.unflatten(0, (self.per_sample, batch)).transpose(0, 1)


def find_batch_axis(
    small: Sequence[int], large: Sequence[int], sizes: tuple[int, int], *, choice: int | None = None
) -> BatchAxis | str:
    """Return the axis whose size follows the batch, from the shapes at two batch sizes, or why there is none.

    Args:
        small: shape at the first batch size.
        large: shape at the second batch size.
        sizes: the two batch sizes.
        choice: the axis chosen by the user, if any.

    >>> find_batch_axis((5, 2, 3), (5, 3, 3), (2, 3))
    BatchAxis(axis=1, per_sample=1, sample_major=True)
    >>> find_batch_axis((2, 2), (3, 3), (2, 3))
    'axes 0 and 1 both follow the batch size: choose one with batch_axis='
    >>> find_batch_axis((2, 0), (3, 0), (2, 3))
    'it has no units: an axis is empty'
    """
    if len(small) != len(large):
        return "its number of axes depends on the batch size"
    if choice is not None:
        return _chosen(small, large, sizes, choice)
    found = [axis for axis, pair in enumerate(zip(small, large, strict=True)) if _follows(pair, sizes)]
    if not found:
        return NO_AXIS
    if len(found) > 1:
        listed = " and ".join(map(str, found)) + (" both" if len(found) == 2 else " all")
        return f"axes {listed} follow the batch size: choose one with batch_axis="
    return NO_UNITS if 0 in large else BatchAxis(found[0], small[found[0]] // sizes[0])


def _follows(pair: tuple[int, int], sizes: tuple[int, int]) -> bool:
    rows, rest = divmod(pair[0], sizes[0])
    return rows > 0 and rest == 0 and pair[1] == rows * sizes[1]


def _chosen(
    small: Sequence[int], large: Sequence[int], sizes: tuple[int, int], choice: int
) -> BatchAxis | str:
    axis = choice + len(small) if choice < 0 else choice
    if not 0 <= axis < len(small):
        return f"batch_axis={choice} does not exist in a tensor of {len(small)} axes"
    if not _follows((small[axis], large[axis]), sizes):
        return (
            f"batch_axis={choice} does not follow the batch: it has {small[axis]} and {large[axis]} values "
            f"for batches of {sizes[0]} and {sizes[1]}"
        )
    return NO_UNITS if 0 in large else BatchAxis(axis, small[axis] // sizes[0])


def order_rows(
    axis: BatchAxis, before: Shaped[Tensor, " ..."], after: Shaped[Tensor, " ..."], batch: int
) -> BatchAxis | str:
    """Find which rows belong to each sample, given values before and after the first and last one change."""
    if before.ndim == 1:
        return (
            "axis 0 holds several numbers per sample, one for each of several entities (such as boxes or "
            "nodes), which are not units of the sample"
        )
    moved = (before.movedim(axis.axis, 0).double() - after.movedim(axis.axis, 0).double()).flatten(1)
    sizes = moved.abs().nan_to_num().sum(1)
    changed = set(torch.nonzero(sizes > 1e-6 * sizes.max()).flatten().tolist())
    rows, ends = axis.per_sample, (0, batch - 1)
    if all(row // rows in ends for row in changed):
        return axis
    if all(row % batch in ends for row in changed):
        return replace(axis, sample_major=False)
    return f"axis {axis.axis} has {rows} rows per sample in an order that mixes samples"
