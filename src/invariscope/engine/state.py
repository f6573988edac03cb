"""Keep the state of one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from invariscope.anatomy.grids import UnitGrid
from invariscope.data.labels import Labelling
from invariscope.engine.arrival import Arrival
from invariscope.engine.plan import Strata
from invariscope.readers.base import Inspection, LayerKey
from invariscope.statistics.base import Statistic
from invariscope.unit_draw import UnitDraw

OUTPUT: LayerKey = ("output", 0)


@dataclass
class Run:
    """State of one pass: the statistics of each layer, and how they were obtained.

    Args:
        inapplicable: for each layer and statistic that does not apply to it, the reason.
        forwards: number of inputs on which the model was run, including those of a pilot pass.
        reach: factor by which intervals are widened, if their width decides when the run stops.
        shapes: the unit shape of each layer, from the inspection.
        draws: the units to draw from each large layer.
        grids: positions of the units of feature maps, if needed and known.
        labelled: whether the samples have labels.
        labelling: meaning of the labels.
        clusters: (bucket, cluster) for every cluster with a sample in the bucket; None without clusters.
        arrival: how often neighbours in a stream share a label.
        withdrawn: layers excluded from the whole run after the inspection, with the reason.
        uneven: number of samples per layer whose elements have different numbers of rows (`iv.Rows`).
        unpaired: number of samples per layer whose partner has a different number of rows.
    """

    strata: Strata
    inspection: Inspection
    states: dict[tuple[LayerKey, Statistic], Any] = field(default_factory=dict)
    aliases: dict[LayerKey, LayerKey] = field(default_factory=dict)
    inapplicable: dict[tuple[LayerKey, Statistic], str] = field(default_factory=dict)
    skipped_samples: dict[LayerKey, int] = field(default_factory=dict)
    samples: int = 0
    forwards: int = 0
    input_shape: tuple[int, ...] = ()
    fingerprint: str = ""
    orbit: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)
    reach: float = 1.0
    shapes: dict[LayerKey, tuple[int, ...]] = field(default_factory=dict)
    draws: dict[LayerKey, UnitDraw] = field(default_factory=dict)
    grids: dict[LayerKey, UnitGrid] = field(default_factory=dict)
    labelled: bool = False
    labelling: Labelling = field(default_factory=Labelling)
    clusters: set[tuple[int, int]] | None = None
    arrival: Arrival = field(default_factory=Arrival)
    withdrawn: dict[LayerKey, str] = field(default_factory=dict)
    uneven: dict[LayerKey, int] = field(default_factory=dict)
    unpaired: dict[LayerKey, int] = field(default_factory=dict)

    def draw_of(self, key: LayerKey, statistic: Statistic) -> UnitDraw | None:
        """Return the drawn units to which a statistic is limited at a layer; None if it uses all units."""
        return self.draws.get(key) if statistic.drawable else None

    def forget(self) -> None:
        """Discard the states of a first block that was not completed."""
        for part in (self.states, self.aliases, self.inapplicable):
            part.clear()
        for count in (self.skipped_samples, self.uneven, self.unpaired):
            count.clear()

    def note_once(self, note: str) -> None:
        """Add a note, unless there is an equal one."""
        self.notes += [] if note in self.notes else [note]

    def withdraw(self, key: LayerKey, reason: str, statistics: Iterable[Statistic]) -> None:
        """Exclude a layer, and the layers that repeat it, from the whole run.

        Args:
            statistics: the statistics whose states are discarded.
        """
        known = any((info.layer, info.call) == key for info in self.inspection.layers)
        if key in self.withdrawn or (known and key not in self.inspection.readable):
            return
        self.withdrawn[key] = reason
        self.inspection = self.inspection.without(key, reason)
        self.aliases.pop(key, None)
        for statistic in statistics:
            self.states.pop((key, statistic), None)
            self.inapplicable.pop((key, statistic), None)
        for repeat in [repeat for repeat, source in self.aliases.items() if source == key]:
            self.withdraw(repeat, f"it repeats {key[0]!r}, which is left out: {reason}", statistics)

    def independent(self, members: list[list[int]]) -> np.ndarray | None:
        """Return the (group,) number of clusters in these buckets; None without clusters."""
        if self.clusters is None:
            return None
        groups = {bucket: group for group, own in enumerate(members) for bucket in own}
        found = {(groups[bucket], cluster) for bucket, cluster in self.clusters if bucket in groups}
        return np.bincount([group for group, _ in found], minlength=len(members))
