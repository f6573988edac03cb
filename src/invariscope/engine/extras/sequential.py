"""Stop a run as soon as its intervals are narrow enough, as checked at a few numbers of samples (looks)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.data.sources import Source
from invariscope.data.window import Window
from invariscope.engine.arrival import SORTED
from invariscope.intervals import SEQUENTIAL_REACH, Interval
from invariscope.results.rows import Row
from invariscope.unit_draw import MORE_UNITS, DrawingError

if TYPE_CHECKING:
    from invariscope.engine.state import Run
    from invariscope.engine.task import Task

# Ratio between successive interim looks. Looking after every block would favour intervals that are narrow by
# chance.
_APART = math.sqrt(2)
_RUN = 64  # later looks come after multiples of this many samples, at which jackknife groups are equal


@dataclass(frozen=True)
class Stopping:
    """The rule for stopping: every deciding interval is narrow enough, after at least `at_least` samples.

    Args:
        width: largest width of the deciding intervals, from low to high.
        at_least: number of samples at the first look.
        decided_by: the rows that decide, "measure" or "layer:measure" as globs; None: every row.
    """

    width: float
    at_least: int
    decided_by: str | None = None

    def looks(self) -> Iterator[int]:
        """Yield the numbers of samples at the interim looks, a factor of √2 apart.

        >>> looks = Stopping(0.1, 128).looks()
        >>> [next(looks) for _ in range(6)]
        [128, 192, 256, 384, 512, 768]
        """
        yield (last := self.at_least)
        for power in count(1):
            due = math.ceil(round(self.at_least * _APART**power) / _RUN) * _RUN
            if due > last:
                yield (last := due)

    def chosen(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows that `decided_by` selects.

        Raises:
            ValueError: it selects none.
        """
        layers, _, measures = (self.decided_by or "*").rpartition(":")
        kept = [row for row in rows if matches(measures, row.measure) and matches(layers or "*", row.layer)]
        if not kept:
            known = [row.measure for row in rows]
            known += [f"{row.layer}:{row.measure}" for row in rows]
            raise unknown("row in decided_by", str(self.decided_by), dict.fromkeys(known))
        return kept

    def widest(self, rows: Sequence[Row]) -> tuple[float, Row] | None:
        """Return the widest deciding interval and its row; None if no row has an interval or can get one.

        Rows with a value but too few samples so far count as infinitely wide. Rows without a value, and rows
        of outputs that never have an interval, are ignored.
        """
        widths = ((_width(row), row) for row in self.chosen(rows))
        known = (entry for entry in widths if not math.isnan(entry[0]))
        return max(known, key=lambda entry: entry[0], default=None)

    def limited(self, rows: Sequence[Row]) -> tuple[float, Row] | None:
        """Return the width, and the row, that drawn units alone make too wide; None if there is none."""
        widths = ((_least_width(row), row) for row in self.chosen(rows))
        wide = (entry for entry in widths if entry[0] > self.width)
        return max(wide, key=lambda entry: entry[0], default=None)


def _width(row: Row) -> float:
    if math.isfinite(row.value) and row.pending:
        return math.inf
    return row.ci_high - row.ci_low


def _least_width(row: Row) -> float:
    """Return the interval's width for infinitely many samples, which is due to the draw of units alone."""
    if row.contrasts is None or not math.isfinite(row.ci_low):
        return 0.0
    error = DrawingError(row.contrasts.astype(float), 0)
    least = Interval(0.0, 0.0, 0.0, 0.0).with_drawing(error.variance**0.5, error.freedom)
    return least.high - least.low


@dataclass
class Watch:
    """Decides whether an unfinished run may stop, from the rows that it would have if it ended now.

    Args:
        stopping: the rule for stopping.
        rows: returns the rows that a run would have if it ended now.
        stopped: whether the intervals are narrow enough.
        limited: smallest possible width of a row whose interval no number of samples makes narrow enough, and
            the row; None if there is no such row.
    """

    stopping: Stopping
    rows: Callable[[Run], Sequence[Row]]
    stopped: bool = False
    limited: tuple[float, Row] | None = None
    walked: int = 0

    def __call__(self, run: Run, walked: int) -> bool:
        """Return whether to stop after `walked` samples, which may include those of an interrupted run."""
        passed, self.walked = self.walked, walked
        if run.arrival.looks_unshuffled:
            return False
        if run.samples != walked or len(self._looks(walked)) == len(self._looks(passed)):
            return False
        rows = self.rows(replace(run, notes=[]))
        found = self.stopping.widest(rows)
        self._refuse_undecidable(found)
        self.stopped = found is not None and found[0] <= self.stopping.width
        self.limited = self.stopping.limited(rows)
        return self.ended

    @property
    def ended(self) -> bool:
        """Whether more samples are unnecessary, or would not help."""
        return self.stopped or self.limited is not None

    def _looks(self, walked: int) -> list[int]:
        return list(takewhile(lambda due: due <= walked, self.stopping.looks()))

    def _refuse_undecidable(self, found: Any) -> None:
        if found is None and self.stopping.decided_by is not None:
            raise ValueError(
                f"decided_by={self.stopping.decided_by!r} selects only rows without an interval, such as "
                "those of dead layers, largest values and p-values: select other rows, or leave it out"
            )

    def account(self, run: Run, rows: Sequence[Row], total: int | None) -> dict[str, Any]:
        """Return the provenance entry of a finished run, and add it to the run's notes as a sentence.

        Args:
            rows: rows of the finished run.
            total: number of samples, if known.
        """
        summary = self.summary(run, rows, total)
        run.notes.append(f"all samples were used: {SORTED}" if run.arrival.is_sorted else self.note(summary))
        return {"sequential": summary}

    def summary(self, run: Run, rows: Sequence[Row], total: int | None) -> dict[str, Any]:
        """Return the number of samples used, and the reason."""
        found = self.stopping.widest(rows)
        last = {} if found is None else {n: found[1][n] for n in ("measure", "layer", "call", "stratum")}
        if found is not None:
            last["width"] = found[0] if math.isfinite(found[0]) else None
        return {
            "width": self.stopping.width,
            "at_least": self.stopping.at_least,
            "decided_by": self.stopping.decided_by or "every interval",
            "looks": self._looks(run.samples),
            "samples": run.samples,
            "of": run.samples if total is None and not self.ended else total,
            "stopped": self._why(),
            "widest": last,
            "reach": SEQUENTIAL_REACH,
        }

    def _why(self) -> str:
        if self.stopped:
            return "narrow enough"
        return "no more samples" if self.limited is None else "too few drawn units"

    def note(self, summary: dict[str, Any]) -> str:
        """Return the summary as a sentence."""
        widest, used, first = summary["widest"], f"{summary['samples']:,}", self.stopping.at_least
        early = summary["samples"] < first
        of = "" if summary["of"] is None else f" of {summary['of']:,}"
        if self.limited is not None and not self.stopped:
            least, row = self.limited
            alone = f"the draw of units alone makes the interval of {row.measure} of layer {row.layer!r}"
            size = f"{least:.3g} wide; requested: {self.stopping.width:g}"
            return f"stopped after {used}{of} samples: {alone} {size}; {MORE_UNITS}"
        every = f"all {used} samples were used" + (f", fewer than at_least={first:,}" if early else "")
        if not widest:
            return f"{every}: there is no interval"
        where = f"{widest['measure']} of layer {widest['layer']!r}"
        where += "" if widest["stratum"] == "all" else f" (stratum {widest['stratum']!r})"
        if widest["width"] is None:
            return f"{every}: {where} needs more samples for an interval"
        size = f"{widest['width']:.3g} wide; requested: {self.stopping.width:g}"
        if not self.stopped:
            late = widest["width"] <= self.stopping.width  # but no look was due at the last sample
            fewer = " before the next check" if late and not early else ""
            return f"{every}{fewer}: the interval of {where} is {size}"
        return f"stopped after {used}{of} samples: the widest deciding interval, of {where}, is {size}"


def watching(task: Task, rows: Callable[[Run], Sequence[Row]]) -> Watch | None:
    """Return the watch that the options request; None without a width.

    Raises:
        ValueError: a measure needs to know all samples before the first forward pass.
    """
    options = task.options
    if options.width is None:
        return None
    for measure in task.measures:
        if measure.needs_reference or any(s.ordered for s in measure.statistics()):
            raise ValueError(
                f"{measure.label} with {measure.options} needs to know all samples beforehand: leave it out "
                "of the run with width=, then measure it with samples= set to the number used"
            )
    return Watch(Stopping(options.width, options.at_least, options.decided_by), rows)


@dataclass
class LookSource(Source):
    """The samples of another source, in windows that end at the looks.

    Samples of arrays and datasets come in order of rank, so that a run that stops early uses a random subset.
    """

    whole: Source
    stopping: Stopping

    def __post_init__(self) -> None:
        self.name, self.labelling, self.order = self.whole.name, self.whole.labelling, self.whole.order
        self.note = self.whole.note

    @property
    def length(self) -> int | None:
        """Number of samples; a run may use fewer."""
        return self.whole.length

    @property
    def labels(self) -> Tensor | None:
        """All labels in the order in which samples are read, if known beforehand."""
        return self.whole.labels

    def walked(self) -> dict[str, str]:
        """Return the keys and order of the other source."""
        return self.whole.walked()

    def windows(self) -> Iterator[Window]:
        """Yield the samples in windows that end at the looks, or at the end of the pair that contains one."""
        looks = self.stopping.looks()
        due = next(looks)
        for window in self.whole.windows():
            low = 0
            while low < len(window):
                high = min(len(window), _end_of_pair(window, max(due - window.first, low + 1)))
                yield window.part(low, high)
                low = high
                while due <= window.first + high:
                    due = next(looks)


def _end_of_pair(window: Window, size: int) -> int:
    """Return the first end of a pair at or after `size` samples."""
    if size >= len(window):
        return len(window)
    return int(np.searchsorted(window.pairs, window.pairs[size - 1], side="right"))
