"""Naive generators on maps, with SciPy's spline through rows and columns, for the Lie derivative's oracle."""

from __future__ import annotations

import numpy as np


def naive_tangent(name: str, maps: np.ndarray, interpolation: str) -> np.ndarray:
    """Return X of (sample, channel, row, column) maps of the inputs' size, by the generator's name."""
    if name == "intensity":
        return maps
    height, width = maps.shape[-2:]
    slope_x, slope_y = (_naive_derivative(maps, axis, 1, interpolation) for axis in (3, 2))
    if name == "blur":
        return np.sum([_naive_derivative(maps, axis, 2, interpolation) for axis in (3, 2)], axis=0) / 2
    x, y = np.arange(width) - (width - 1) / 2, (np.arange(height) - (height - 1) / 2)[:, None]
    half_x, half_y = ((width - 1) / 2, (height - 1) / 2) if interpolation == "bilinear" else (1, 1)
    x, y = x / half_x, y / half_y
    none = 0 * (x + y)
    velocity = {
        "translation_x": (none + 1, none),
        "translation_y": (none, none + 1),
        "rotation": (none + y, none - x),
        "scale": (none + x, none + y),
        "shear_x": (none + y, none),
        "shear_y": (none, none + x),
        "hyperbolic": (none + y, none + x),
    }[name]
    return -half_x * velocity[0] * slope_x - half_y * velocity[1] * slope_y


def _naively_weighed(curvatures: np.ndarray, axis: int) -> np.ndarray:
    """Return (before + 10 · here + after)/12, mirrored at both ends."""
    n = curvatures.shape[axis]
    wider = np.pad(curvatures, [(int(k == axis),) * 2 for k in range(curvatures.ndim)], mode="reflect")
    before, here, after = (wider.take(range(k, k + n), axis=axis) for k in range(3))
    return (before + 10 * here + after) / 12


def _naive_derivative(maps: np.ndarray, axis: int, order: int, interpolation: str) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    n = maps.shape[axis]
    if interpolation == "spline":
        found = CubicSpline(np.arange(n), maps, axis=axis, bc_type="clamped")(np.arange(n), order)
        return found if order == 1 else _naively_weighed(found, axis)
    if interpolation == "bilinear":
        return np.diff(maps, axis=axis, append=maps.take([-1], axis=axis))
    waves = np.fft.fftfreq(n) * (np.abs(np.fft.fftfreq(n)) != 0.5)
    shifts = np.arange(n)[:, None] - np.arange(n)[None, :]
    matrix = -(2 * np.pi * waves[:, None, None] * np.sin(2 * np.pi * waves[:, None, None] * shifts)).mean(0)
    return np.moveaxis(np.moveaxis(maps, axis, -1) @ matrix.T, -1, axis)
