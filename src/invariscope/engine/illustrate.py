"""One real orbit, and what the most and the least invariant feature maps make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from invariscope.engine.sources import as_source
from invariscope.readers.base import Reading, as_reader
from invariscope.result import Result
from invariscope.transforms import as_transform

_MIN_SIDE = 4
_MAX_LAYERS = 3


def illustrate(
    result: Result,
    model: Any,
    data: Any,
    transform: Any,
    *,
    sample: int = 0,
    measure: str = "normalized_variance",
) -> Result:
    """The result with example images added: one sample's orbit, and feature maps along it.

    Of the first, the middle and the last layer with feature maps of at least 4 × 4 positions, the
    map with the smallest and the one with the largest mean value are shown. Costs one more forward
    of one orbit.

    Args:
        result: what was measured, for the choice of maps.
        model, data, transform: as given to `iv.measure`.
        sample: position of the sample in the data.
        measure: by whose maps to choose.
    Returns:
        A new result whose `examples` hold "orbit" (element, C, H, W) and, for each chosen map,
        "feature:most:LAYER:CHANNEL" or "feature:least:LAYER:CHANNEL" (element, h, w); "most" is the
        most invariant, that is, the smallest value.
    Raises:
        ValueError: the data hold no such sample, or the result no maps of that measure.
    """
    chosen = _chosen(result, measure)
    transform = as_transform(transform)
    inputs = _sample(data, sample)
    index = np.array([sample])
    orbit = transform.orbit(inputs, indices=index, seed=result.provenance.get("seed", 0))[0]
    examples = {"orbit": orbit.detach().cpu().numpy()}
    if chosen:
        examples |= _features(model, orbit, chosen)
    return replace(result, examples=examples)


def _sample(data: Any, sample: int) -> torch.Tensor:
    seen = 0
    for window in as_source(data).windows():
        if seen <= sample < seen + len(window.inputs):
            return window.inputs[sample - seen : sample - seen + 1]
        seen += len(window.inputs)
    raise ValueError(f"sample={sample}, but the data hold {seen}")


def _chosen(result: Result, measure: str) -> dict[str, Mapping[str, int]]:
    """Layer to {"most": channel, "least": channel}."""
    means = {
        key[1]: _channel_means(array)
        for key, array in result.maps.items()
        if key[0] == measure and key[2] == "all" and key[3] == 0 and array.ndim == 3
    }
    if not any(key[0] == measure for key in result.maps):
        raise ValueError(f"the result holds no maps of {measure!r}; measure it first")
    sides = {layer: min(result.maps[measure, layer].shape[1:]) for layer in means}
    layers = [
        layer for layer, mean in means.items() if sides[layer] >= _MIN_SIDE and np.isfinite(mean).sum() > 1
    ]
    spread = np.unique(np.linspace(0, len(layers) - 1, min(_MAX_LAYERS, len(layers))).round().astype(int))
    return {
        layers[i]: {"most": int(np.nanargmin(means[layers[i]])), "least": int(np.nanargmax(means[layers[i]]))}
        for i in spread
    }


def _channel_means(array: np.ndarray) -> np.ndarray:
    """(channel,) mean over the finite positions; NaN where there is none."""
    finite = np.isfinite(array)
    counts = finite.sum(axis=(1, 2))
    sums = np.where(finite, array, 0).sum(axis=(1, 2))
    return np.divide(sums, counts, out=np.full(len(array), np.nan), where=counts > 0)


def _features(model: Any, orbit: torch.Tensor, chosen: dict[str, Mapping[str, int]]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def keep(reading: Reading) -> None:
        if reading.call == 0 and reading.layer in chosen and reading.values is not None:
            for rank, channel in chosen[reading.layer].items():
                picture = reading.values[:, channel].float().cpu().numpy().copy()
                found[f"feature:{rank}:{reading.layer}:{channel}"] = picture

    with as_reader(model).open() as forward:
        forward(orbit.contiguous(), keep)
    return found
