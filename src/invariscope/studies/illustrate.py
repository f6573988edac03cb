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
from invariscope.readers.base import Reader, Reading, as_reader
from invariscope.results.result import Result
from invariscope.transforms import as_transform

_MIN_SIDE = 4
_MAX_LAYERS = 3


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
    means = {
        layer: _channel_means(array)
        for (name, layer, stratum, call), array in result.maps.items()
        if (name, stratum, call) == (measure, "all", 0)
        and array.ndim == 3
        and min(array.shape[1:]) >= _MIN_SIDE
    }
    layers = [layer for layer, mean in means.items() if np.isfinite(mean).sum() > 1]
    spread = np.unique(np.linspace(0, len(layers) - 1, min(_MAX_LAYERS, len(layers))).round().astype(int))
    return {layers[i]: means[layers[i]] for i in spread}


def _channel_means(array: np.ndarray) -> np.ndarray:
    """Return the mean over finite positions, (channel,); NaN if there are none."""
    finite = np.isfinite(array)
    counts = finite.sum(axis=(1, 2))
    sums = np.where(finite, array, 0).sum(axis=(1, 2))
    return np.divide(sums, counts, out=np.full(len(array), np.nan), where=counts > 0)


def _features(reader: Reader, orbit: torch.Tensor, means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def keep(reading: Reading) -> None:
        if reading.call == 0 and reading.layer in means and reading.values is not None:
            frames = reading.values.float().cpu().numpy()
            for rank, channel in _extremes(means[reading.layer], frames).items():
                found[f"feature:{rank}:{reading.layer}:{channel}"] = frames[:, channel].copy()

    with reader.open() as forward:
        forward(orbit.contiguous(), keep)
    return found


def _extremes(means: np.ndarray, frames: np.ndarray) -> dict[str, int]:
    """Return {"most": channel, "least": channel} among channels that vary; empty if fewer than two do."""
    shown = np.where(np.ptp(frames, axis=(0, 2, 3)) > 0, means, np.nan)
    if np.isfinite(shown).sum() < 2:
        return {}
    return {"most": int(np.nanargmin(shown)), "least": int(np.nanargmax(shown))}
