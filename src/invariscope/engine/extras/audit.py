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
    """Check that responses depend only on the input, by running the model again on a few inputs of the run.

    The check before the run misses a layer that sorts its batch by a property that the first samples share,
    and a model that changes after some forward passes. Therefore a few inputs are repeated in blocks 0, 1, 2,
    4, 8, … (a share that falls with the length of the run), in every block in which a layer was excluded, and
    the inputs of the initial check are repeated at the end.

    Args:
        model: runs the model's forward passes.
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
        """Run a forward pass of a block, and check the responses if a check is due.

        Args:
            rows: the inputs.
            sink: receives the readings of an unchecked forward pass; it may stop the pass early.
            whole: receives the readings of a checked forward pass, which has to reach the model's output.
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
        """Run the model once more on the inputs of the initial check, after the last block.

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
    """Return the positions of `count` rows, spread evenly over all rows."""
    return torch.linspace(0, rows - 1, count).round().long().tolist()
