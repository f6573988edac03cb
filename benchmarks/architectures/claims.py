"""Whether the reasons for which the library skipped layers are true, by plain hooks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import Element
from benchmarks.architectures.plain_hooks import SIZES, axes_of_batch, label, leaves, recorded, same_rows

Name = tuple[str, int]
"""Layer and number of its run, as the library has them."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What plain hooks saw of one tensor; None for a forward that did not produce it.

    Args:
        sized: in forwards of 12, 7 and 5 samples.
        moved: in forwards of all samples, one for each element.
        alone: in a forward of each sample alone.
    """

    sized: tuple[Tensor | None, ...]
    moved: tuple[Tensor | None, ...]
    alone: tuple[Tensor | None, ...]

    @property
    def everywhere(self) -> list[Tensor]:
        """All that were produced."""
        return [tensor for tensor in (*self.sized, *self.moved, *self.alone) if tensor is not None]

    @property
    def uneven(self) -> bool:
        """Some forwards produced it and others did not."""
        return 0 < len(self.everywhere) < len((*self.sized, *self.moved, *self.alone))

    @property
    def axes(self) -> list[int]:
        """The axes that follow the batch."""
        return axes_of_batch([tensor.shape for tensor in self.sized if tensor is not None])

    @property
    def shapes(self) -> set[torch.Size]:
        """Of samples alone."""
        return {tensor.shape for tensor in self.alone if tensor is not None}

    def rows(self, axis: int) -> int:
        """Rows per sample on an axis."""
        tensor = self.sized[0]
        return 0 if tensor is None or axis >= tensor.dim() else tensor.shape[axis] // SIZES[0]

    def sorted_by_sample(self, axis: int) -> bool:
        """Whether the rows of a batch are those of its samples, one after another or in turns."""
        together, alone = self.sized[0], [tensor for tensor in self.alone if tensor is not None]
        if together is None or len(alone) != SIZES[0] or len(self.shapes) > 1:
            return False
        return same_rows(together.movedim(axis, 0), torch.stack([rows.movedim(axis, 0) for rows in alone]))


Claim = Callable[[Evidence, tuple[str, ...]], bool]
CLAIMS: dict[str, Claim] = {
    r"no axis follows the batch size": lambda seen, said: not seen.axes,
    r"axes .* follow the batch size": lambda seen, said: len(seen.axes) > 1,
    r"its values are (\w+), not real floating-point numbers": lambda seen, said: (
        {str(tensor.dtype) for tensor in seen.everywhere} == {f"torch.{said[0]}"}
    ),
    r"axis 0 holds several numbers per sample": lambda seen, said: (
        {tensor.dim() for tensor in seen.everywhere} == {1} and seen.rows(0) > 1
    ),
    r"axis (\d+) has (\d+) rows per sample in an order that mixes samples": lambda seen, said: (
        seen.rows(int(said[0])) == int(said[1]) and not seen.sorted_by_sample(int(said[0]))
    ),
    r"its response to an input depends on the other inputs": lambda seen, said: (
        len(seen.axes) == 1 and not seen.sorted_by_sample(seen.axes[0])
    ),
    r"its shape depends on the values": lambda seen, said: len(seen.shapes) > 1 or not seen.axes,
    r"it runs for some inputs and not for others": lambda seen, said: seen.uneven,
    r"how often it runs depends on": lambda seen, said: seen.uneven,
    r"it returned a .* instead of a tensor": lambda seen, said: not seen.everywhere,
}


def verdict(reason: str, seen: Evidence) -> bool | None:
    """Whether a reason is true of a tensor; None if there is no check of it."""
    for pattern, claim in CLAIMS.items():
        if match := re.match(pattern, reason):
            return claim(seen, match.groups())
    return None


def judged(
    reasons: Mapping[Name, str], model: nn.Module, x: Tensor, elements: Iterable[Element]
) -> dict[str, bool | None]:
    """The verdicts about all reasons that were given for leaf modules."""
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
