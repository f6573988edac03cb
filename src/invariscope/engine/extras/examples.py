"""Images of one orbit, and of a few feature maps along it, for reports."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from invariscope.common.symbols import RELATIVE, first_of
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.readers.base import Forward, Reading
from invariscope.results.maps import DrawnMap, MapKey

log = logging.getLogger(__name__)

ORBIT, FEATURE = "orbit", "feature:"
MIN_SIDE, MAX_LAYERS = 4, 3
_MOST_VALUES = 1 << 20  # of the orbit
_MOST_ELEMENTS, _SIDE, _AT_ONCE = 24, 56, 8
_SHARE = 0.01


def examples_of(
    task: Task, run: Run, arrays: Mapping[MapKey, np.ndarray | DrawnMap]
) -> dict[str, np.ndarray]:
    """Return the first sample's orbit and, along it, the most and the least invariant maps of some layers.

    The maps are forwarded once more, at most 24 elements, which no statistic sees. This is left out if it
    would be more than 1 % of all forwards, as for fewer than 100 samples; `iv.illustrate` adds the maps then.
    Large images are made smaller. Empty if the data are not images.

    Args:
        arrays: the maps of the result, by which feature maps are chosen.
    Returns:
        "orbit" (element, C, H, W) and "feature:RANK:LAYER:CHANNEL" (element, h, w), where RANK is "most" or
        "least" and at most 24 evenly spaced elements are shown.
    """
    found = kept_orbit(run)
    count = 0 if run.orbit is None else min(len(run.orbit), _MOST_ELEMENTS)
    if run.orbit is None or not found or count > _SHARE * run.forwards:
        return found
    means = layer_means(arrays, _measure(arrays))
    if not means:
        return found
    shown = np.arange(count) * len(run.orbit) // count
    orbit = torch.from_numpy(run.orbit[shown]).to(run.orbit_dtype)
    how = {name: getattr(task.options, name) for name in ("device", "precision", "seed")}
    try:
        with task.reader.open(**how) as forward:
            frames = frames_of(forward, orbit, means)
    except Exception as error:  # a finished measurement is not lost for the sake of its pictures
        log.warning("no feature maps along an orbit are shown: %s", error)
        return found
    return found | {name: smaller(part, _SIDE) for name, part in extremes(frames, means).items()}


def kept_orbit(run: Run) -> dict[str, np.ndarray]:
    """Return the orbit for reports; large images are averaged over squares of pixels."""
    if run.orbit is None:
        return {}
    side = max(run.orbit.shape[-2:])
    while run.orbit.size * (side / max(run.orbit.shape[-2:])) ** 2 > _MOST_VALUES and side > MIN_SIDE:
        side = side // 2
    orbit = smaller(run.orbit, side)
    return {ORBIT: orbit} if orbit.size <= _MOST_VALUES else {}


def smaller(images: np.ndarray, side: int) -> np.ndarray:
    """Average images (..., H, W) over squares of pixels, so that they are at most `side` high and wide.

    >>> smaller(np.arange(4.0).reshape(1, 2, 2), 1)
    array([[[1.5]]])
    """
    factor = math.ceil(max(images.shape[-2:]) / side)
    if factor <= 1:
        return images
    high, wide = (max(1, size // factor) for size in images.shape[-2:])
    down, across = (min(factor, size) for size in images.shape[-2:])
    cut = images[..., : high * down, : wide * across]
    return cut.reshape(*images.shape[:-2], high, down, wide, across).mean(axis=(-3, -1)).astype(images.dtype)


def _measure(arrays: Mapping[MapKey, np.ndarray | DrawnMap]) -> str:
    """Return the measure that chooses the maps, relative to a change of sample if possible; "" if none."""
    present = [key[0] for key, array in arrays.items() if key[2] == "all" and _is_large(array)]
    return first_of(RELATIVE, present) or next(iter(present), "")


def layer_means(arrays: Mapping[MapKey, np.ndarray | DrawnMap], measure: str) -> dict[str, np.ndarray]:
    """Return the mean value per feature map in the first, middle and last layer with maps that vary."""
    large = {
        key[1]: array
        for key, array in arrays.items()
        if (key[0], *key[2:]) == (measure, "all", 0) and _is_large(array)
    }
    means = {}
    for layer, array in large.items():
        mean = channel_means(array.whole() if isinstance(array, DrawnMap) else array)
        if np.isfinite(mean).sum() > 1:
            means[layer] = mean
    layers = list(means)
    spread = np.unique(np.linspace(0, len(layers) - 1, min(MAX_LAYERS, len(layers))).round().astype(int))
    return {layers[i]: means[layers[i]] for i in spread}


def _is_large(array: np.ndarray | DrawnMap) -> bool:
    shape = array.draw.shape if isinstance(array, DrawnMap) else array.shape
    return len(shape) == 3 and min(shape[1:]) >= MIN_SIDE


def channel_means(array: np.ndarray) -> np.ndarray:
    """Return the mean over finite positions, (channel,); NaN if there are none."""
    finite = np.isfinite(array)
    counts = finite.sum(axis=(1, 2))
    sums = np.where(finite, array, 0).sum(axis=(1, 2))
    return np.divide(sums, counts, out=np.full(len(array), np.nan), where=counts > 0)


def frames_of(
    forward: Forward, orbit: torch.Tensor, layers: Iterable[str], *, at_once: int = _AT_ONCE
) -> dict[str, np.ndarray]:
    """Return the responses (element, channel, h, w) of the layers to an orbit, forwarded in small batches."""
    wanted, parts = set(layers), {}

    def keep(reading: Reading) -> None:
        if reading.call == 0 and reading.layer in wanted and reading.values is not None:
            parts.setdefault(reading.layer, []).append(reading.values.detach().float().cpu().numpy().copy())

    for low in range(0, len(orbit), at_once):
        forward(orbit[low : low + at_once].contiguous(), keep)
    return {layer: np.concatenate(found) for layer, found in parts.items()}


def extremes(frames: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the most and the least invariant maps of each layer, by the names of `examples_of`.

    Maps whose responses are constant along this orbit are excluded, because they may simply be inactive.
    """
    found = {}
    for layer, values in frames.items():
        shown = np.where(np.ptp(values, axis=(0, 2, 3)) > 0, means[layer], np.nan)
        if np.isfinite(shown).sum() < 2:
            continue
        for rank, channel in (("most", int(np.nanargmin(shown))), ("least", int(np.nanargmax(shown)))):
            found[f"{FEATURE}{rank}:{layer}:{channel}"] = values[:, channel].copy()
    return found
