"""State of one pass over the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from invariscope.engine.arrival import Arrival
from invariscope.engine.labels import Labelling
from invariscope.engine.plan import Strata
from invariscope.readers.base import Inspection, LayerKey
from invariscope.readers.grids import Grid
from invariscope.statistics.base import Statistic

OUTPUT: LayerKey = ("output", 0)


@dataclass
class Run:
    """State of one pass: statistics by layer, and how they were obtained.

    Args:
        inapplicable: why a statistic does not apply to a layer.
        forwards: number of inputs forwarded through the model, including those of a pilot.
        reach: factor that widens the intervals if the walk stops by their width.
        shapes: the unit shape of each layer, from the inspection.
        grids: positions of the units of feature maps, if needed and known.
        labelled: whether the samples have labels.
        labelling: meaning of the labels.
        clusters: (bucket, cluster) for every cluster with a sample in the bucket; None if there are no
            clusters.
        arrival: whether the labels of a stream come sorted.
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
    grids: dict[LayerKey, Grid] = field(default_factory=dict)
    labelled: bool = False
    labelling: Labelling = field(default_factory=Labelling)
    clusters: set[tuple[int, int]] | None = None
    arrival: Arrival = field(default_factory=Arrival)

    def independent(self, members: list[list[int]]) -> np.ndarray | None:
        """Return the (group,) number of clusters in these buckets; None if there are no clusters."""
        if self.clusters is None:
            return None
        groups = {bucket: group for group, own in enumerate(members) for bucket in own}
        found = {(groups[bucket], cluster) for bucket, cluster in self.clusters if bucket in groups}
        return np.bincount([group for group, _ in found], minlength=len(members))
