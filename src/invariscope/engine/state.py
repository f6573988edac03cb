"""Keep the state of one pass over the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from invariscope.anatomy.grids import UnitGrid
from invariscope.data.contents import Contents
from invariscope.data.labels import Labelling
from invariscope.engine.arrival import Arrival
from invariscope.engine.plan import Strata
from invariscope.readers.base import Inspection, LayerKey
from invariscope.statistics.base import Statistic
from invariscope.unit_draw import UnitDraw

if TYPE_CHECKING:
    from invariscope.engine.assemble import MeasureMean
    from invariscope.engine.checkpoint import Checkpoint
    from invariscope.engine.outputs import Part

OUTPUT: LayerKey = ("output", 0)
# If there are more classes, maps of single classes are kept only on request.
MOST_MAPPED = 32


@dataclass(eq=False)
class Turned:
    """Classes that are walked in turn, a few at a time, and the finished ones.

    Args:
        classes: the classes in the order of the walk.
        at_once: number of classes per turn.
        parts: rows, points and maps of the finished classes, by layer and measure.
        means: their means.
        total: sums over their samples; the classes of one number share their buckets.
    """

    classes: list[int]
    at_once: int
    parts: dict[LayerKey, dict[str, Part]] = field(default_factory=dict)
    means: dict[LayerKey, dict[str, MeasureMean]] = field(default_factory=dict)
    total: dict[tuple[LayerKey, Statistic], Any] = field(default_factory=dict)


@dataclass
class Run:
    """State of one pass: the statistics of each layer, and how they were obtained.

    Args:
        inapplicable: for each layer and statistic that does not apply to it, the reason.
        forwards: number of inputs on which the model was run, including those of a pilot pass.
        orbit, orbit_dtype: images of the first sample's orbit, and the type in which the model takes them.
        reach: factor by which intervals are widened, if their width decides when the run stops.
        shapes: the unit shape of each layer, from the inspection.
        draws: the units to draw from each large layer.
        grids: positions of the units of feature maps, if needed and known.
        labelled: whether the samples have labels.
        labelling: meaning of the labels.
        clusters: (cell, cluster) for every cluster with a sample in the cell; None without clusters.
        arrival: how often neighbours in a stream share a label.
        coarser: the strata of states whose sums do not fit the memory budget with those of the run.
        withdrawn: layers excluded from the whole run after the inspection, with the reason.
        class_maps: whether maps of single classes are kept; None: if there are few classes.
        turned: the finished classes, if classes are walked in turn.
        small: names of the classes that have fewer than two samples.
        uneven: number of samples per layer whose elements have different numbers of rows (`iv.Rows`).
        unpaired: number of samples per layer whose partner has a different number of rows.
        moved: whether the elements of the transform give different inputs for at least one sample.
        unmoved: the elements that leave all samples as they are; None if unknown, because an element is
            declared as the identity, for example.
        contents: digests of the samples.
        missing: number of samples with NaN in their inputs.
        pilot_data: digest of the samples of a pilot pass.
        checkpoint: file of the sums, which is removed once there is a result.
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
    orbit_dtype: torch.dtype = torch.float32
    notes: list[str] = field(default_factory=list)
    reach: float = 1.0
    shapes: dict[LayerKey, tuple[int, ...]] = field(default_factory=dict)
    draws: dict[LayerKey, UnitDraw] = field(default_factory=dict)
    grids: dict[LayerKey, UnitGrid] = field(default_factory=dict)
    labelled: bool = False
    labelling: Labelling = field(default_factory=Labelling)
    clusters: set[tuple[int, int]] | None = None
    arrival: Arrival = field(default_factory=Arrival)
    coarser: dict[tuple[LayerKey, Statistic], Strata] = field(default_factory=dict)
    withdrawn: dict[LayerKey, str] = field(default_factory=dict)
    class_maps: bool | None = None
    turned: Turned | None = None
    small: dict[str, None] = field(default_factory=dict)
    uneven: dict[LayerKey, int] = field(default_factory=dict)
    unpaired: dict[LayerKey, int] = field(default_factory=dict)
    moved: bool = False
    unmoved: set[int] | None = None
    contents: Contents = field(default_factory=Contents)
    missing: int = 0
    pilot_data: str = ""
    checkpoint: Checkpoint | None = None

    def strata_of(self, key: LayerKey, statistic: Statistic) -> Strata:
        """Return the strata whose buckets the statistic's state of a layer has."""
        return self.coarser.get((key, statistic), self.strata)

    def draw_of(self, key: LayerKey, statistic: Statistic) -> UnitDraw | None:
        """Return the drawn units to which a statistic is limited at a layer; None if it uses all units."""
        return self.draws.get(key) if statistic.drawable else None

    @property
    def has_classes(self) -> bool:
        """Whether single classes are measured."""
        return self.turned is not None or self.strata.by_class

    @property
    def keeps_maps(self) -> bool:
        """Whether maps of single classes are kept."""
        classes = self.strata.classes if self.turned is None else self.turned.classes
        return len(classes) <= MOST_MAPPED if self.class_maps is None else self.class_maps

    def forget(self) -> None:
        """Discard the states of a first block that was not completed."""
        for part in (self.states, self.aliases, self.inapplicable):
            part.clear()
        for count in (self.skipped_samples, self.uneven, self.unpaired):
            count.clear()

    def restart(self, *, classes: bool = True) -> None:
        """Discard all samples, but keep what the first ones of each stratum determined.

        Args:
            classes: whether to keep this for classes too, or only for all samples together.
        """
        kept = {
            (key, statistic): statistic.restarted(state, classes=classes)
            for (key, statistic), state in self.states.items()
            if statistic.first_samples
        }
        self.forget()
        self.states.update(kept)
        self.samples = self.missing = 0

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

    def independent(self, stratum: int | None) -> np.ndarray | None:
        """Return the (group,) number of clusters in a stratum, or in all; None without clusters."""
        if self.clusters is None:
            return None
        cells = self.strata.cells(stratum)
        groups = {cell: group for group, own in enumerate(cells) for cell in own}
        found = {(groups[cell], cluster) for cell, cluster in self.clusters if cell in groups}
        return np.bincount([group for group, _ in found], minlength=len(cells))
