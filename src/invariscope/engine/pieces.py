"""Join the readings of several forward passes, if a block is too large for a single one."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from invariscope.readers.base import LayerKey
from invariscope.unit_draw import UnitDraw


@dataclass(eq=False)
class Pieces:
    """Responses of a layer in a block's forward passes, copied because the network may overwrite them.

    Args:
        draw: the units to keep; None for all.
        originals: for each reading, the layer whose responses it repeats, or None; repeats are not copied.
    """

    draw: UnitDraw | None = None
    values: list[Tensor] = field(default_factory=list)
    row_of: list[Tensor] = field(default_factory=list)
    originals: list[LayerKey | None] = field(default_factory=list)

    def add(self, values: Tensor, *, row_of: Tensor | None, first: int) -> None:
        """Keep a copy of a reading.

        Args:
            row_of: (row,) the input of each row, counted from the first input of the forward pass.
            first: position of that input in the block.
        """
        kept = values.clone() if self.draw is None else self.draw.take(values)
        self.values.append(kept)
        self.originals.append(None)
        if row_of is not None:
            self.row_of.append(row_of + first)

    def repeat(self, original: LayerKey) -> None:
        """Record that a reading repeats that of another layer."""
        self.originals.append(original)

    @property
    def original(self) -> LayerKey | None:
        """The layer that all readings repeat; None if there is none."""
        return self.originals[0] if len(set(self.originals)) == 1 else None

    @property
    def mixed(self) -> bool:
        """Whether some readings repeat another layer and others do not."""
        return len(set(self.originals)) > 1

    def together(self) -> Tensor:
        """Return the (row, unit...) responses of the block; no rows if they repeat another layer."""
        return torch.cat(self.values) if self.values else torch.empty(0)

    def rows(self) -> Tensor | None:
        """Return the input of each row, for layers with several rows per input."""
        return torch.cat(self.row_of) if self.row_of else None
