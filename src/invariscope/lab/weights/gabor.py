"""Fits of Gabor functions to large filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import least_squares

from invariscope.common.cards import Described
from invariscope.weights._filters import filter_bank

if TYPE_CHECKING:
    import pandas as pd

SMALLEST = 5
# Number of peaks of the filter's spectrum from which fits start, and the initial width of the envelope as a
# fraction of the filter's side. Three peaks and two widths take three times as long and increase the R² of
# random 9 x 9 filters by 0.002.
_PEAKS, _WIDTH = 2, 0.25


@dataclass(frozen=True, eq=False, repr=False)
class GaborFits(Described):
    """The best Gabor function for each of several filters.

    Args:
        layer: layer of the filters.
        filters: (filter, k, k) the filters.
        fitted: (filter, k, k) the fits, including the offset.
        r2: (filter,) proportion of the filter's variance explained by the fit; NaN for a constant filter.
        frequency: (filter,) frequency of the wave, in cycles per pixel.
        orientation_deg: (filter,) direction of the wave, counter-clockwise from the x axis, 0 to 180.
        width_px: (filter, 2) standard deviations of the envelope, along the wave and across.
    """

    layer: str
    filters: np.ndarray
    fitted: np.ndarray
    r2: np.ndarray
    frequency: np.ndarray
    orientation_deg: np.ndarray
    width_px: np.ndarray

    @property
    def median_r2(self) -> float:
        """The median R² over filters that are not constant; NaN if all are."""
        known = self.r2[np.isfinite(self.r2)]
        return float(np.median(known)) if len(known) else float("nan")

    @property
    def table(self) -> pd.DataFrame:
        """One row per filter: filter, r2, frequency, orientation_deg, width_along_px, width_across_px."""
        import pandas as pd

        widths = dict(zip(("width_along_px", "width_across_px"), self.width_px.T, strict=True))
        wave = {"frequency": self.frequency, "orientation_deg": self.orientation_deg}
        return pd.DataFrame({"filter": np.arange(len(self.r2)), "r2": self.r2, **wave, **widths})


def fit_gabor(weights: Any, layer: str | None = None, *, limit: int = 64) -> GaborFits:
    """Fit a Gabor function to each large filter of a layer by least squares.

    .. math:: g(s) = b + A\\, e^{-u^2/2\\sigma_u^2 - v^2/2\\sigma_v^2} \\cos(2\\pi f u + \\varphi), \\qquad
        R^2 = 1 - \\frac{\\|w - g\\|^2}{\\|w - \\bar w\\|^2}

    where (u, v) is the position of the pixel relative to a fitted centre, rotated by a fitted angle. Each
    pair of an output and an input channel has its own filter.

    Caveats: with its nine parameters, a Gabor function explains much of a random filter with few pixels, and
    more of a smooth one. Compare with `phase_randomised` copies of the filters, which are equally smooth.

    Args:
        weights: a module, a state dict, or filters (out, in, k, k).
        layer: name of a convolution; None if there is only one.
        limit: maximum number of filters to fit; they are evenly spaced over the layer.
    Raises:
        TypeError: `weights` is of another type.
        ValueError: unknown layer, or filters smaller than 5 x 5.

    Source:
        Gabor 1946, doi:10.1049/ji-3-2.1946.0074; Jones and Palmer 1987, doi:10.1152/jn.1987.58.6.1233, for
        the two-dimensional form.

    >>> y, x = np.mgrid[-4:5, -4:5]
    >>> wave = np.exp(-(x**2 + y**2) / 8) * np.cos(2 * np.pi * 0.2 * x)
    >>> fits = fit_gabor(wave[None, None])
    >>> bool(fits.r2[0] > 0.999), round(float(fits.frequency[0]), 3)
    (True, 0.2)
    """
    bank = filter_bank(weights, layer)
    height, width = bank.filters.shape[2:]
    if min(height, width) < SMALLEST:
        raise ValueError(
            f"{bank.layer!r} has filters of {height} x {width}: a Gabor function has nine parameters, too "
            f"many for filters smaller than {SMALLEST} x {SMALLEST}."
        )
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    filters = bank.pairs
    filters = filters[np.arange(min(limit, len(filters))) * len(filters) // min(limit, len(filters))]
    found = [_fit(one) for one in filters]
    wave = np.array([parameters for _, _, parameters in found])
    return GaborFits(
        layer=bank.layer,
        filters=filters,
        fitted=np.array([fitted for _, fitted, _ in found]),
        r2=np.array([r2 for r2, _, _ in found]),
        frequency=wave[:, 5],
        orientation_deg=np.degrees(wave[:, 2]) % 180,
        width_px=np.exp(wave[:, 3:5]),
    )


def phase_randomised(filters: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return copies of filters with the same amplitudes at all frequencies, and random phases.

    .. math:: w' = F^{-1}\\left( |F w|\\, \\frac{F \\xi}{|F \\xi|} \\right)

    where F is the discrete Fourier transform over the filter's pixels and ξ is white Gaussian noise. Each
    copy has the power spectrum, and thus the smoothness, the mean and the variance of its filter, and is
    otherwise random. The copies are the null model for Gabor fits, which depend on how the waves of a filter
    add up at one place.

    Caveats: the Fourier transform treats the filter as periodic. A jump between opposite borders of the
    filter therefore appears as power at high frequencies, which the copies also have.

    Args:
        filters: (..., k, k).
        seed: seed of the phases, which differ between filters.

    Source:
        Theiler et al. 1992, doi:10.1016/0167-2789(92)90102-S, surrogate data with random phases.

    >>> filters = np.random.default_rng(0).normal(size=(2, 9, 9))
    >>> copies = phase_randomised(filters, seed=1)
    >>> bool(np.allclose(np.abs(np.fft.fft2(copies)), np.abs(np.fft.fft2(filters))))
    True
    """
    noise = np.fft.fft2(np.random.default_rng(seed).normal(size=filters.shape))
    size = np.abs(noise)
    phases = np.divide(noise, size, out=np.ones_like(noise), where=size > 0)
    phases[..., 0, 0] = 1.0
    spectrum = np.fft.fft2(filters)
    amplitude = np.abs(spectrum)
    amplitude = np.where(np.indices(spectrum.shape[-2:]).any(axis=0), amplitude, spectrum)
    return np.fft.ifft2(amplitude * phases).real


def _fit(image: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Return R², the fit, and (y, x, angle, log σ along, log σ across, frequency) of the best start."""
    spread = image - image.mean()
    total = float((spread**2).sum())
    if total <= 1e-12 * float((image**2).sum()) or total == 0:
        return float("nan"), np.full_like(image, image.mean()), np.full(6, np.nan)
    scaled = spread / np.sqrt(total)
    low, high = _bounds(image.shape)
    tries = [
        least_squares(
            lambda p: _residual(p, scaled), start.clip(low + 1e-6, high - 1e-6), bounds=(low, high),
            max_nfev=60, ftol=1e-6, xtol=1e-6,
        )
        for start in _starts(scaled)
    ]  # fmt: skip
    best = min(tries, key=lambda one: one.cost)
    rest = _residual(best.x, scaled).reshape(image.shape)
    return 1 - float((rest**2).sum()), image - rest * np.sqrt(total), best.x


def _residual(parameters: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the residual after solving for the amplitudes of cosine, sine and offset, which are linear."""
    envelope, phase = _wave(parameters, image.shape)
    basis = np.stack([envelope * np.cos(phase), envelope * np.sin(phase), np.ones_like(phase)]).reshape(3, -1)
    # A tiny ridge keeps the solution unique at frequency 0, where the sine vanishes.
    gram = basis @ basis.T + 1e-9 * np.eye(3)
    flat = image.ravel()
    return flat - np.linalg.solve(gram, basis @ flat) @ basis


def _wave(parameters: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return envelope and phase at each pixel; rows run downwards, angles are counter-clockwise."""
    row, column, angle, along, across, frequency = parameters
    y, x = np.mgrid[: shape[0], : shape[1]]
    y, x = row - y, x - column
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    envelope = np.exp(-(u**2) / (2 * np.exp(2 * along)) - v**2 / (2 * np.exp(2 * across)))
    return envelope, 2 * np.pi * frequency * u


def _bounds(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return bounds: centre within the filter, widths of 0.5 px to twice its side, frequencies to Nyquist."""
    height, width = shape
    small, large = np.log(0.5), np.log(2 * max(shape))
    low = np.array([0, 0, -2 * np.pi, small, small, 0.0])
    return low, np.array([height - 1, width - 1, 2 * np.pi, large, large, 0.5])


def _starts(image: np.ndarray) -> list[np.ndarray]:
    """Return initial parameters: the strongest waves of the spectrum, centred on the filter's energy."""
    height, width = image.shape
    energy = image**2 / (image**2).sum()
    centre = [
        float((energy.sum(1) * np.arange(height)).sum()),
        float((energy.sum(0) * np.arange(width)).sum()),
    ]
    size = 4 * max(height, width)  # padding gives finer frequencies
    power = np.abs(np.fft.rfft2(image, (size, size))) ** 2
    down, across = np.fft.fftfreq(size), np.fft.rfftfreq(size)
    peaks = _peaks(power)
    waves = [(-np.arctan2(down[i], across[j]), float(np.hypot(down[i], across[j]))) for i, j in peaks]
    width_log = np.log(_WIDTH * max(height, width))
    return [np.array([*centre, angle, width_log, width_log, min(f, 0.5)]) for angle, f in waves]


def _peaks(power: np.ndarray) -> list[tuple[int, int]]:
    """Return the largest entries, excluding the neighbourhood of those already found."""
    left = power.copy()
    found = []
    for _ in range(_PEAKS):
        i, j = divmod(int(left.argmax()), left.shape[1])
        found.append((i, j))
        rows = np.arange(i - 3, i + 4) % len(left)
        left[np.ix_(rows, np.arange(max(j - 3, 0), min(j + 4, left.shape[1])))] = -1
    return found
