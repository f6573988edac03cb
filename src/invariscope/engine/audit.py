"""Looks during a run at whether a response still depends on nothing but the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from invariscope.engine.guards import unstable
from invariscope.readers.base import LayerKey, Reading
from invariscope.readers.stability import (
    Dependence,
    Predicting,
    Responses,
    compared,
    different,
    examined,
    largest_change,
)

_ROWS = 4


class Audit:
    """Forwards a few inputs of some blocks again, by themselves, and those of the first look once more.

    A look at the first samples cannot find a layer that sorts its batch by something they have in common, or
    a model that changes after some forwards. Blocks 0, 1, 2, 4, 8, … are looked at, so that the share of
    additional forwards falls with the length of the run, and every block in which layers were left out. The
    inputs of the first look are forwarded once more at the end.

    Args:
        model: its forwards.
        rows: the inputs of the first look.
        first: the responses to them.
        withdraw: leaves a layer out of the run.
    """

    def __init__(
        self, model: Predicting, rows: Tensor, first: Responses, withdraw: Callable[[LayerKey, str], None]
    ) -> None:
        self.model, self.rows, self.first, self.withdraw = model, rows, first, withdraw
        self.block = 0
        self.inputs = 0

    def run(self, rows: Tensor, sink: Callable[[Reading], None]) -> Any:
        """One forward of a block, and what its look shows.

        Raises:
            ValueError: the output depends on something besides the input.
        """
        number, self.block = self.block, self.block + 1
        self.inputs += len(rows)
        return self.model(rows, sink) if number & (number - 1) else self._looking(rows, sink)

    def _looking(self, rows: Tensor, sink: Callable[[Reading], None]) -> Any:
        chosen = torch.linspace(0, len(rows) - 1, _ROWS).round().long().tolist()
        block = Responses()

        def both(reading: Reading) -> None:
            block.add(reading, len(rows), chosen)
            sink(reading)

        output = self.model(rows, both)
        block.add_output(self.model.predicted(output, len(rows)), chosen)
        self._judge(compared(block, Responses.of(self.model, rows[chosen])))
        return output

    def again(self, rows: Tensor) -> None:
        """The first look once more, at the inputs of a block in which layers were left out."""
        self._judge(examined(self.model, rows[different(rows)])[0])

    def finish(self) -> None:
        """Compare the inputs of the first look with themselves, after the last block.

        Raises:
            ValueError: the responses are no longer the same.
        """
        size, layer = largest_change(self.first, Responses.of(self.model, self.rows))
        if size:
            raise unstable(
                f"the model's response depends on what it was given before: after {self.inputs:,} inputs the "
                f"same inputs gave different responses, first in {layer!r} (by up to {size:.2g} of a layer's "
                "rms)."
            )

    def _judge(self, found: Dependence) -> None:
        if found:
            self.finish()
        if found.chance or found.output:
            raise unstable(str(found))
        for key, reason in found.layers.items():
            self.withdraw(key, reason)
