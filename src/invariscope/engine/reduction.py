"""Reduce each layer to states as soon as it is read, or exclude it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from invariscope.block import Block, Membership, NotApplicableError
from invariscope.engine.extras.masks import Masks
from invariscope.engine.needs import Needs
from invariscope.engine.options import Options
from invariscope.engine.pieces import Pieces
from invariscope.engine.row_blocks import left_out, row_blocks
from invariscope.engine.state import OUTPUT, Run
from invariscope.engine.validation import (
    NonFiniteResponse,
    finite_samples,
    non_finite,
    other_shape,
    refuse_nonfinite,
    refuse_other_shape,
    refuse_unreadable,
)
from invariscope.readers.base import OK, Enough, LayerKey, Reading
from invariscope.readers.batch_dependence import NOT_ALWAYS
from invariscope.statistics.base import Statistic
from invariscope.statistics.errors import NonFiniteError

_NO_UNITS = (
    "its samples have different numbers of rows, so they have no units in common: pool the rows with "
    "pool={...: iv.Pool(...)}, or choose a measure that compares responses within a sample"
)

# A block without its values, which differ between layers.
BlockFrame: TypeAlias = partial[Block]


class Reduction:
    """Accumulator of the readings of successive forwards in the states of a run.

    Args:
        run: the run whose states are updated.
        needs: statistics of the layers and of the output.
        options: determine how non-finite responses are treated.
        pilot: final values of the statistics' pilots.
    """

    def __init__(
        self, run: Run, needs: Needs, options: Options, pilot: Mapping[tuple[LayerKey, Statistic], Any]
    ) -> None:
        self.run, self.needs, self.options, self.pilot = run, needs, options, pilot
        self.kinds = {(info.layer, info.call): info.kind for info in run.inspection.layers}
        self.repeating = {(info.layer, info.call) for info in run.inspection.layers if info.alias_of}
        self.masks = Masks()
        self.output_shape: tuple[int, ...] | None = None
        self.frame: BlockFrame = partial(Block)
        self.part = slice(0, 0)
        self.rows = 0
        self.seen: set[LayerKey] = set()
        self.pieces: dict[LayerKey, Pieces] | None = None
        self.others: dict[str, Membership] = {}
        self.cells = np.zeros(0, np.int64)
        self.keeps_maps = any(not s.drawable or s.needs_maps for s in needs.layers)

    def count_in(self, cells: np.ndarray) -> None:
        """Set the (sample,) cells of the next block, for states whose buckets are not those of the frame."""
        self.cells = cells
        self.others.clear()

    def begin(self, frame: BlockFrame, *, rows: int, forwards: int = 1) -> None:
        """Start a block of `rows` inputs; `frame` holds what the blocks of all layers share."""
        self.frame, self.rows = frame, rows
        self.pieces = {} if forwards > 1 else None

    def forward(self, part: slice) -> None:
        """Start the forward of some inputs of the block."""
        self.part = part
        self.seen.clear()

    def forwarded(self) -> None:
        """Finish a forward, and exclude layers that it did not reach from the whole run."""
        for key in self.run.inspection.readable - self.seen:
            self.withdraw(key, NOT_ALWAYS)

    def end(self) -> None:
        """Finish a block: add the readings of several forwards together."""
        for key, pieces in (self.pieces or {}).items():
            if key in self.run.withdrawn:
                if pieces.values:
                    self._refuse_moved_mask(key, pieces.together())
            elif pieces.mixed:
                self._withdraw_repeating(key, next(filter(None, pieces.originals)))
            elif (rows := pieces.rows()) is not None:
                self._read_rows(key, pieces.together(), rows)
            else:
                self._read(key, pieces.together(), pieces.original, drawn=pieces.draw is not None)
        self.pieces = None

    def withdraw(self, key: LayerKey, reason: str) -> None:
        """Exclude a layer from the whole run.

        Raises:
            ValueError: no layer is left, and only layers are measured.
        """
        self.run.withdraw(key, reason, self.needs.layers)
        if not self.needs.output:
            refuse_unreadable(self.run.inspection)

    def output(self, values: Tensor) -> None:
        """Add the model's output for all inputs of the block."""
        self.output_shape = self.output_shape or tuple(values.shape[1:])
        refuse_other_shape(OUTPUT, other_shape(tuple(values.shape), self.output_shape, rows=self.rows))
        self._add(OUTPUT, self.needs.output, self.frame(values=values, layer=OUTPUT[0]))

    def layer(self, reading: Reading) -> None:
        """Add a layer's reading, or exclude the layer from the whole run."""
        key, values, rows = (reading.layer, reading.call), reading.values, self.part.stop - self.part.start
        if reading.status != OK or values is None:
            self.withdraw(key, reading.status)
        elif key in self.run.withdrawn:
            if self.pieces is None:
                self._refuse_moved_mask(key, values)
            elif key in self.masks.places:
                self._keep(key, reading, values)
        elif key not in self.run.inspection.readable:
            self.withdraw(key, NOT_ALWAYS)
        elif problem := self._other_shape(key, values, len(values) if reading.row_of is not None else rows):
            self.withdraw(key, problem)
        else:
            self.seen.add(key)
            if self.pieces is not None:
                self._keep(key, reading, values)
            elif reading.row_of is None:
                self._read(key, values, reading.alias_of)
            else:
                self._read_rows(key, values, reading.row_of)

    def until_enough(self, reading: Reading) -> None:
        """Add a layer's reading, and stop the forward if all layers have been read."""
        self.layer(reading)
        if self.run.inspection.readable <= self.seen:
            raise Enough

    def _keep(self, key: LayerKey, reading: Reading, values: Tensor) -> None:
        """Copy a reading for the end of the block."""
        assert self.pieces is not None
        draw = None if self.keeps_maps else self.run.draws.get(key)
        pieces = self.pieces.setdefault(key, Pieces(draw))
        original = reading.alias_of
        if original is not None and self._repeats(key, original):
            pieces.repeat(original)
        else:
            pieces.add(values, row_of=reading.row_of, first=self.part.start)

    def _other_shape(self, key: LayerKey, values: Tensor, rows: int) -> str:
        """Return why the shape differs; raise ValueError for a layer that the user named."""
        problem = other_shape(tuple(values.shape), self.run.shapes.get(key), rows=rows)
        layers = self.options.layers
        named = [layers] if isinstance(layers, str) else layers
        if isinstance(named, Sequence) and key[0] in named:
            refuse_other_shape(key, problem)
        return problem

    def _read(self, key: LayerKey, values: Tensor, original: LayerKey | None, *, drawn: bool = False) -> None:
        run = self.run
        if original is not None and self._repeats(key, original):
            run.aliases[key] = run.aliases.get(original, original)
            return
        if key in run.aliases:
            self._withdraw_repeating(key, run.aliases[key])
            return
        unclear, draw = key in run.inspection.unclear, None if drawn else run.draws.get(key)
        block = self.frame(values=values, layer=key[0], unclear=unclear, draw=draw)
        if not self.needs.layers or self._masked(key, block, self._shown(block)):
            return
        try:
            self._add(key, self.needs.layers, block)
        except NonFiniteResponse:
            if not self._masked(key, block, block.values):
                raise

    def _read_rows(self, key: LayerKey, values: Tensor, row_of: Tensor) -> None:
        """Add a layer whose samples have different numbers of rows, as several blocks."""
        frame = partial(self.frame, layer=key[0])
        uneven, unpaired = left_out(frame, row_of, self.rows)
        self.run.uneven[key] = self.run.uneven.get(key, 0) + uneven
        self.run.unpaired[key] = self.run.unpaired.get(key, 0) + unpaired
        for block in row_blocks(frame, values, row_of, self.rows):
            self._add(key, self.needs.layers, block)

    def _withdraw_repeating(self, key: LayerKey, original: LayerKey) -> None:
        self.withdraw(key, f"it repeats {original[0]!r} for some inputs and not for others")

    def _repeats(self, key: LayerKey, original: LayerKey) -> bool:
        """Return whether a reading needs no reduction because it repeats that of another layer."""
        return key in self.repeating and self._same_numbers(key, original)

    def _same_numbers(self, key: LayerKey, original: LayerKey) -> bool:
        """Return whether a view reduces to the same numbers; with pooling, only if its shape is the same."""
        if original in self.run.withdrawn:
            return False
        if not all(statistic.alike(key[0], original[0]) for statistic in self.needs.layers):
            return False  # the same response, of which different things are expected
        return not self.needs.pools or self.run.shapes.get(key) == self.run.shapes.get(original)

    def _shown(self, block: Block) -> Tensor:
        """Return the responses to search for a mask: those of the first block, then one per orbit."""
        firsts = slice(0, block.samples * block.sample_step, block.sample_step)
        return block.drawn.values[firsts] if self.run.samples else block.drawn.values

    def _masked(self, key: LayerKey, block: Block, shown: Tensor) -> bool:
        """Return whether a block's responses are masked scores; if so, exclude the layer."""
        reason = self.masks.reason(
            key, block.values, shown, kind=self.kinds.get(key, ""), before=self.run.samples > 0
        )
        if reason:  # not an error even if no layer is left: later inputs may show that it is not a mask
            self.run.withdraw(key, reason, self.needs.layers)
        return bool(reason)

    def _refuse_moved_mask(self, key: LayerKey, values: Tensor) -> None:
        """Raise ValueError if the -inf values taken for a mask are at other positions for other inputs."""
        if self.options.nonfinite == "raise" and not self.masks.still_masked(key, values):
            refuse_nonfinite(key, self.frame(values=values, layer=key[0]))

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
        if statistic.drawable and not statistic.needs_maps:
            block = block.drawn
        try:
            if block.ragged and not statistic.takes_ragged:
                raise NotApplicableError(_NO_UNITS)
            state = run.states.get((key, statistic))
            if state is None:
                pilot = None if statistic.pilot is None else self.pilot.get((key, statistic.pilot))
                buckets = run.strata_of(key, statistic).buckets
                state = statistic.init(self._counted(key, statistic, block), buckets=buckets, pilot=pilot)
                run.states[key, statistic] = state
            statistic.update(state, self._counted(key, statistic, block))
        except NotApplicableError as error:
            run.inapplicable[key, statistic] = str(error)
            run.states.pop((key, statistic), None)  # it would cover only some of the samples
        except NonFiniteError:
            raise non_finite(key, block) from None

    def _counted(self, key: LayerKey, statistic: Statistic, block: Block) -> Block:
        """Return the block with the buckets of this state."""
        strata = self.run.coarser.get((key, statistic))
        if strata is None:
            return block
        if strata.layout not in self.others:
            self.others[strata.layout] = strata.membership(self.cells)
        return replace(block, membership=self.others[strata.layout])
