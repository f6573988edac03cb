"""Check with plain hooks whether the library's reasons for skipping layers are true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import Element
from benchmarks.architectures.plain_hooks import SIZES, axes_of_batch, label, leaves, recorded, same_rows

Name = tuple[str, int]
"""Layer and call, as named by the library."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """One tensor as recorded by plain hooks, with None for forward passes that did not produce it.

    Args:
        sized: its values in forward passes of 12, 7 and 5 samples.
        moved: its values in forward passes of all samples, one pass per element.
        alone: its values in forward passes of single samples.
    """

    sized: tuple[Tensor | None, ...]
    moved: tuple[Tensor | None, ...]
    alone: tuple[Tensor | None, ...]

    @property
    def everywhere(self) -> list[Tensor]:
        """All tensors that were produced."""
        return [tensor for tensor in (*self.sized, *self.moved, *self.alone) if tensor is not None]

    @property
    def uneven(self) -> bool:
        """Whether some forward passes produced the tensor and others did not."""
        return 0 < len(self.everywhere) < len((*self.sized, *self.moved, *self.alone))

    @property
    def axes(self) -> list[int]:
        """The axes whose size follows the batch size."""
        return axes_of_batch([tensor.shape for tensor in self.sized if tensor is not None])

    @property
    def shapes(self) -> set[torch.Size]:
        """The shapes for single samples."""
        return {tensor.shape for tensor in self.alone if tensor is not None}

    def rows(self, axis: int) -> int:
        """Return the number of rows per sample on an axis."""
        tensor = self.sized[0]
        return 0 if tensor is None or axis >= tensor.dim() else tensor.shape[axis] // SIZES[0]

    def sorted_by_sample(self, axis: int) -> bool:
        """Return whether the rows of a batch are those of its samples, consecutive or interleaved."""
        together, alone = self.sized[0], [tensor for tensor in self.alone if tensor is not None]
        if together is None or len(alone) != SIZES[0] or len(self.shapes) > 1:
            return False
        return same_rows(together.movedim(axis, 0), torch.stack([rows.movedim(axis, 0) for rows in alone]))


Claim = Callable[[Evidence, tuple[str, ...]], bool]
CLAIMS: dict[str, Claim] = {
    r"no axis follows the batch size": lambda seen, groups: not seen.axes,
    r"axes .* follow the batch size": lambda seen, groups: len(seen.axes) > 1,
    r"its values are (\w+), not real floating-point numbers": lambda seen, groups: (
        {str(tensor.dtype) for tensor in seen.everywhere} == {f"torch.{groups[0]}"}
    ),
    r"axis 0 holds several numbers per sample": lambda seen, groups: (
        {tensor.dim() for tensor in seen.everywhere} == {1} and seen.rows(0) > 1
    ),
    r"axis (\d+) has (\d+) rows per sample in an order that mixes samples": lambda seen, groups: (
        seen.rows(int(groups[0])) == int(groups[1]) and not seen.sorted_by_sample(int(groups[0]))
    ),
    r"its response to an input depends on the other inputs": lambda seen, groups: (
        len(seen.axes) == 1 and not seen.sorted_by_sample(seen.axes[0])
    ),
    r"its shape depends on the values": lambda seen, said: len(seen.shapes) > 1 or not seen.axes,
    r"it runs for some inputs and not for others": lambda seen, said: seen.uneven,
    r"how often it runs depends on": lambda seen, said: seen.uneven,
    r"it returned a .* instead of a tensor": lambda seen, said: not seen.everywhere,
}


def verdict(reason: str, seen: Evidence) -> bool | None:
    """Return whether a reason is true of a tensor, or None if this cannot be checked."""
    for pattern, claim in CLAIMS.items():
        if match := re.match(pattern, reason):
            return claim(seen, match.groups())
    return None


def judged(
    reasons: Mapping[Name, str], model: nn.Module, x: Tensor, elements: Iterable[Element]
) -> dict[str, bool | None]:
    """Return whether the reasons given for leaf modules are true."""
    modules = leaves(model)
    wanted = {name: reason for name, reason in reasons.items() if name[0].split("[")[0] in modules}
    if not wanted:
        return {}
    sized = [_labelled(model, x[:size]) for size in SIZES]
    moved = [_labelled(model, element(x)) for element in elements]
    alone = [_labelled(model, x[row : row + 1]) for row in range(len(x))]
    found = {}
    for name, reason in wanted.items():
        parts = (tuple(notes.get(name) for notes in forwards) for forwards in (sized, moved, alone))
        found[f"{name[0]} (call {name[1]}): {reason}"] = verdict(reason, Evidence(*parts))
    return found


def _labelled(model: nn.Module, x: Tensor) -> dict[Name, Tensor]:
    notes, _ = recorded(model, x)
    return {(label(key, rank), key[1]): tensor for key, (rank, tensor) in notes.items()}
