"""What measures with `norm="random_net"` divide by: the same architecture with random weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from invariscope.data.sources import Source
from invariscope.engine.assemble import assembled
from invariscope.engine.extras.baseline import refuse_unrandom
from invariscope.engine.options import Options
from invariscope.engine.walk import walk
from invariscope.measures.base import Measure
from invariscope.measures.variance import TransformationVariance
from invariscope.readers.base import LayerKey
from invariscope.transforms.base import Transform
from invariscope.variants.randomized import random_network


def random_references(
    model: Any, source: Source, transform: Transform, wanted: tuple[Measure, ...], options: Options
) -> dict[LayerKey, np.ndarray]:
    """Per-unit transformation variance of the same architecture with random weights, if needed."""
    if not any(measure.needs_reference for measure in wanted):
        return {}
    refuse_unrandom(model, source, what="norm='random_net'")
    reader = options.reader(random_network(model, options.baseline, seed=options.seed))
    only, plain = (TransformationVariance(min_firing=0),), replace(options, floor=False)
    run = walk(reader, source, transform, only, plain)
    maps = assembled(run, only, transform).maps
    return {(layer, call): array for (_, layer, stratum, call), array in maps.items() if stratum == "all"}
