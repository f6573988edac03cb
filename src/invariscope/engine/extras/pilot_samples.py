"""The untransformed samples that a pilot forwards: all of them, or those that decide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from invariscope.data.rank_range import RankRange
from invariscope.data.sources import ArraySource, DatasetSource, Source
from invariscope.data.window import Window
from invariscope.engine.needs import Needs
from invariscope.engine.prepare import Walk
from invariscope.engine.state import Run

_WINDOW = 64


@dataclass
class ChosenSource(Source):
    """Some samples of another source.

    Args:
        whole: the other source.
        ranks: (sample,) their ranks, ascending.
    """

    whole: ArraySource | DatasetSource
    ranks: np.ndarray

    def __post_init__(self) -> None:
        self.name, self.labelling = self.whole.name, self.whole.labelling

    @property
    def length(self) -> int:
        """Number of chosen samples."""
        return len(self.ranks)

    def walked(self) -> dict[str, str]:
        """Return the keys and order of the other source."""
        return self.whole.walked()

    def windows(self) -> Iterator[Window]:
        """Yield the chosen samples, a few at a time."""
        for low in range(0, len(self.ranks), _WINDOW):
            yield self.whole.chosen(self.ranks[low : low + _WINDOW])


def pilot_source(walk: Walk, needs: Needs) -> Source:
    """Return the samples that a walk's pilot has to forward.

    Args:
        needs: the needs of the pilot.
    """
    source = walk.source.complete
    if not isinstance(source, ArraySource | DatasetSource) or walk.options.nonfinite == "skip":
        return source
    keys = source.order.keys[source.order.walk]
    needed = [statistic.needed(keys) for statistic in needs.layers + needs.output]
    chosen = [flags for flags in needed if flags is not None]
    if len(chosen) < len(needed):
        return source
    flags = np.any(chosen, axis=0)
    return source if flags.all() else ChosenSource(source, np.flatnonzero(flags))


def add_others(walk: Walk, pilot: Run, source: Source) -> None:
    """Tell the states of a pilot the keys and labels of the samples that it did not forward.

    Args:
        source: the samples that it forwarded.
    """
    if not isinstance(source, ChosenSource):
        return
    own, order = walk.source, source.whole.order
    labels = own.known_labels if isinstance(own, RankRange) else source.whole.read_labels()
    numbers = walk.labelling.numbers(labels)
    for (_, statistic), state in pilot.states.items():
        statistic.add_others(state, order.keys[order.walk], numbers)
