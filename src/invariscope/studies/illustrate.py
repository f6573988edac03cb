"""Example images of one orbit, with the most and the least invariant feature maps along it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.data.sources import as_source
from invariscope.data.window import Window
from invariscope.engine.extras.examples import extremes, frames_of, layer_means
from invariscope.readers.base import Reader, as_reader
from invariscope.results.result import Result
from invariscope.transforms import as_transform


@without_autocast()
@without_default_device()
def illustrate(
    result: Result,
    model: Any,
    data: Any,
    transform: Any,
    *,
    sample: int = 0,
    measure: str = "normalized_variance",
    preprocess: Callable[[Any], Any] | None = None,
) -> Result:
    """Return a copy of a result with example images of one sample's orbit, and of feature maps along it.

    The feature maps are those with the smallest and the largest mean value in the first, middle and last
    layer with maps of at least 4 × 4 positions. Maps whose responses are constant along this orbit are
    excluded, because they may simply be inactive. The orbit is forwarded once.

    Args:
        result: the measured result, which determines the choice of maps.
        model, data, transform: as given to `iv.measure`.
        sample: position of the sample in the data.
        measure: the measure whose maps determine the choice.
        preprocess: as given to `iv.measure`.
    Returns:
        A new result whose `examples` hold "orbit" (element, C, H, W) and, for each chosen map,
        "feature:most:LAYER:CHANNEL" or "feature:least:LAYER:CHANNEL" (element, h, w); "most" is the most
        invariant map, which has the smallest value.
    Raises:
        ValueError: the data do not have this sample, or the result has no maps of this measure.
    """
    means = _layer_means(result, measure)
    transform = as_transform(transform)
    seed = result.provenance.get("seed", 0)
    gradients = result.provenance.get("options", {}).get("gradients", False)
    gradients = gradients and not isinstance(model, Reader)
    reader = as_reader(model, gradients=gradients, preprocess=preprocess)
    one = _sample(data, sample, seed, channels_last=reader.channels_last)
    orbit = transform.orbit(one.inputs, indices=one.indices, keys=one.keys, seed=seed)[0]
    examples = {"orbit": orbit.detach().cpu().numpy()}
    if means:
        examples |= _features(reader, orbit, means)
    return replace(result, examples=examples)


def _sample(data: Any, sample: int, seed: int, *, channels_last: bool) -> Window:
    """Return the sample at a position in the data."""
    seen = 0
    for window in as_source(data, seed=seed, channels_last=channels_last).windows():
        seen += len(window)
        if len(found := np.flatnonzero(window.indices == sample)):
            return window.part(found[0], found[0] + 1)
    raise ValueError(f"sample={sample} is out of range: the data have {seen} samples")


def _layer_means(result: Result, measure: str) -> dict[str, np.ndarray]:
    """Return the mean value per feature map of each chosen layer."""
    if not any(key[0] == measure for key in result.maps):
        raise ValueError(f"the result has no maps of {measure!r}; measure it first")
    return layer_means(result.arrays, measure)


def _features(reader: Reader, orbit: torch.Tensor, means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    with reader.open() as forward:
        return extremes(frames_of(forward, orbit, means, at_once=len(orbit)), means)
