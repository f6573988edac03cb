"""From readings to states: every layer of a forward is reduced where it is produced, or left out."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from invariscope.engine.guards import finite_samples, non_finite, refuse_nonfinite, refuse_other_shape
from invariscope.engine.needs import Needs
from invariscope.engine.options import Options
from invariscope.engine.state import OUTPUT, Run
from invariscope.readers.base import OK, LayerKey, Reading
from invariscope.statistics.base import Block, NotApplicableError, Statistic
from invariscope.statistics.orbit_state import NonFiniteError


class Reduction:
    """Adds the readings of one forward after another to the states of a run.

    Args:
        run: whose states are updated.
        needs: statistics of the layers and of the output.
        options: what happens to responses that are not finite.
        pilot: final values of the pilots of statistics that have one.
    """

    def __init__(
        self, run: Run, needs: Needs, options: Options, pilot: dict[tuple[LayerKey, Statistic], Any]
    ) -> None:
        self.run, self.needs, self.options, self.pilot = run, needs, options, pilot
        self.output_shape: tuple[int, ...] | None = None
        self.shared: dict[str, Any] = {}
        self.rows = 0

    def begin(self, shared: dict[str, Any], *, rows: int) -> None:
        """Before a forward of `rows` inputs; `shared` is what the blocks of all layers have in common."""
        self.shared, self.rows = shared, rows

    def output(self, values: Tensor) -> None:
        """Add the model's output."""
        self.output_shape = self.output_shape or tuple(values.shape[1:])
        refuse_other_shape(OUTPUT, tuple(values.shape), self.output_shape, rows=self.rows)
        self._add(OUTPUT, self.needs.output, Block(values=values, layer=OUTPUT[0], **self.shared))

    def layer(self, reading: Reading) -> None:
        """Add what a layer produced."""
        if reading.status != OK or reading.values is None:
            return
        run, key = self.run, (reading.layer, reading.call)
        refuse_other_shape(key, tuple(reading.values.shape), run.shapes.get(key), rows=self.rows)
        if reading.alias_of is not None and self._same_numbers(reading):
            run.aliases[key] = run.aliases.get(reading.alias_of, reading.alias_of)
            return
        unclear = key in run.inspection.unclear
        block = Block(values=reading.values, layer=reading.layer, unclear=unclear, **self.shared)
        self._add(key, self.needs.layers, block)

    def _same_numbers(self, reading: Reading) -> bool:
        """Whether a view has the numbers of what it repeats: pooling tells a flattened map from the map."""
        if not self.needs.pools:
            return True
        assert reading.alias_of is not None
        shapes = self.run.shapes
        return shapes.get((reading.layer, reading.call)) == shapes.get(reading.alias_of)

    def _add(self, key: LayerKey, statistics: tuple[Statistic, ...], block: Block) -> None:
        if self.options.nonfinite == "skip":
            block, left_out = finite_samples(block)
            if left_out:
                self.run.skipped_samples[key] = self.run.skipped_samples.get(key, 0) + left_out
            if not block.samples:
                return
        elif not any(statistic.refuses_nonfinite for statistic in statistics):
            refuse_nonfinite(key, block)
        for statistic in statistics:
            self._update(key, statistic, block)

    def _update(self, key: LayerKey, statistic: Statistic, block: Block) -> None:
        run = self.run
        if (key, statistic) in run.inapplicable:
            return
        try:
            state = run.states.get((key, statistic))
            if state is None:
                pilot = None if statistic.pilot is None else self.pilot.get((key, statistic.pilot))
                state = statistic.init(block, buckets=run.strata.buckets, pilot=pilot)
                run.states[key, statistic] = state
            statistic.update(state, block)
        except NotApplicableError as error:
            run.inapplicable[key, statistic] = str(error)
        except NonFiniteError:
            raise non_finite(key, block) from None
