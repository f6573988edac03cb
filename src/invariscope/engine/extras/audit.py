"""Check during a run that responses depend on nothing but the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from invariscope.common.samples import Inputs, joined_inputs, taken
from invariscope.engine.validation import unstable
from invariscope.readers.base import LayerKey, Reading, Sink
from invariscope.readers.batch_dependence import (
    Dependence,
    PredictingForward,
    Responses,
    compare_block,
    distinct_rows,
    examine,
    largest_change,
)

_ROWS = 4


class Audit:
    """Check that repeats the forwards of a few inputs of some blocks, and of the initial inputs at the end.

    The initial check misses a layer that sorts its batch by a property that the first samples share, and a
    model that changes after some forwards. Blocks 0, 1, 2, 4, 8, … are checked, so that the share of
    additional forwards falls with the length of the run. So is every block in which a layer was excluded.

    Args:
        model: the model's forward.
        rows: inputs of the initial check.
        first: responses to these inputs.
        withdraw: excludes a layer from the run.
    """

    def __init__(
        self,
        model: PredictingForward,
        rows: Inputs,
        first: Responses,
        withdraw: Callable[[LayerKey, str], None],
    ) -> None:
        self.model, self.rows, self.first, self.withdraw = model, rows, first, withdraw
        self.block = 0
        self.inputs = 0

    def run(self, rows: Inputs, sink: Sink, *, whole: Sink, block: Inputs) -> Any:
        """Run a forward of a block, and check it if it is due.

        Args:
            rows: the inputs.
            sink: receives the readings; it may stop the forward.
            whole: receives the readings of a forward that is checked, for which the output is needed.
            block: all inputs of the block, which fill up the batch of the check.

        Raises:
            ValueError: the output depends on something other than the input.
        """
        number, self.block = self.block, self.block + 1
        self.inputs += len(rows)
        return self.model.forward(rows, sink) if number & (number - 1) else self._checked(rows, whole, block)

    def _checked(self, rows: Inputs, sink: Sink, others: Inputs) -> Any:
        chosen = _spread(len(rows), min(_ROWS, len(rows)))
        filling = _spread(len(others), _ROWS - len(chosen))
        few = taken(rows, chosen)
        few = joined_inputs([few, taken(others, filling)]) if filling else few
        block = Responses()

        def both(reading: Reading) -> None:
            block.add(reading, len(rows), chosen)
            sink(reading)

        output = self.model.forward(rows, both)
        block.add_output(self.model.predicted(output, len(rows)), chosen)
        self._judge(compare_block(block, Responses.of(self.model, few, range(len(chosen)))))
        return output

    def recheck(self, rows: Inputs) -> None:
        """Repeat the initial check on inputs of a block in which layers were excluded."""
        self._judge(examine(self.model, taken(rows, distinct_rows(rows)))[0])

    def finish(self) -> None:
        """Repeat the forward of the initial inputs after the last block.

        Raises:
            ValueError: the responses have changed.
        """
        size, layer = largest_change(self.first, Responses.of(self.model, self.rows))
        if size:
            raise unstable(
                f"the model's response depends on earlier inputs: after {self.inputs:,} inputs, the same "
                f"inputs gave different responses, first in {layer!r} (by up to {size:.2g} of a layer's rms)."
            )

    def _judge(self, found: Dependence) -> None:
        if found:
            self.finish()
        if found.chance or found.output:
            raise unstable(str(found))
        for key, reason in found.layers.items():
            self.withdraw(key, reason)


def _spread(rows: int, count: int) -> list[int]:
    """Return the positions of this many rows, spread over all."""
    return torch.linspace(0, rows - 1, count).round().long().tolist()
