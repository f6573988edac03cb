"""The ensemble of maximum-entropy fields: its modes, and its temperature in terms of pixels."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from invariscope.common.checks import integer
from invariscope.common.draws import Draws
from invariscope.transforms.machinery.checks import choice, positive

MOST_MODES = 2_000  # half waves per side; the sums over modes are of this size squared
CUTOFFS = ("code", "paper")
DISPLACEMENTS = ("nominal", "exact")


@lru_cache(maxsize=64)
def spectrum(c: int, cutoff: str = "code") -> np.ndarray:
    """Return the standard deviations of the coefficients at temperature 1; 0 beyond the cutoff.

    .. math:: \\sigma_{ij} = (i^2 + j^2)^{-1/2}

    for i, j = 1, 2, ... with √(i² + j²) < c + ½ ("code") or i² + j² ≤ c² ("paper").
    """
    choice("cutoff", cutoff, CUTOFFS)
    i = np.arange(1, integer("c", c, most=MOST_MODES) + 1)
    squares = i[:, None] ** 2 + i**2
    inside = squares < (c + 0.5) ** 2 if cutoff == "code" else squares <= c**2
    kept = int(inside.any(axis=0).sum())
    if kept == 0:
        raise ValueError(
            "cutoff='paper' leaves no mode at c = 1 (1² + 1² > 1²): use c=2, or cutoff='code', which keeps "
            "one."
        )
    found = np.where(inside, squares**-0.5, 0.0)[:kept, :kept]
    found.setflags(write=False)
    return found


def drawn_coefficients(draws: Draws, spread: np.ndarray) -> np.ndarray:
    """Return normal coefficients (sample, draw, 2, i, j) with standard deviations (..., 2, i, j)."""
    modes = spread.shape[-3:]
    return draws.normal(math.prod(modes)).reshape(len(draws.keys), draws.slots, *modes) * spread


def temperature_of(
    delta_px: float, n: int, c: int, *, displacement: str = "nominal", cutoff: str = "code"
) -> float:
    """Return the temperature at which fields on n pixels have a displacement of `delta_px`.

    .. math:: T = \\frac{4 \\delta^2}{\\pi n^2 \\ln c} \\text{ (nominal)}, \\quad
        T = \\frac{2 \\delta^2}{n^2 S},\\; S = \\sum_{ij} \\frac{1}{i^2 + j^2} \\text{ (exact)}

    Raises:
        ValueError: a displacement that is not positive; c = 1 with the nominal displacement.

    >>> [f"{temperature_of(1, n, 3):.4e}" for n in (28, 32, 224)]
    ['1.4783e-03', '1.1318e-03', '2.3098e-05']
    """
    return positive("delta_px", delta_px) ** 2 / _square_at_one(n, c, displacement, cutoff)


def displacement_of(
    temperature: float, n: int, c: int, *, displacement: str = "nominal", cutoff: str = "code"
) -> float:
    """Return the displacement in pixels of fields at a temperature: the inverse of `temperature_of`.

    >>> round(displacement_of(temperature_of(1, 32, 3), 32, 3, displacement="exact"), 3)
    0.843
    """
    square = _square_at_one(n, c, displacement, cutoff)
    return math.sqrt(positive("temperature", temperature) * square)


def allowed_range(n: int, c: int) -> tuple[float, float]:
    """Return the temperatures T1 and T2 between which fields move pixels and typically do not fold.

    .. math:: T_1 = \\frac{1}{\\pi n^2 \\ln c}, \\quad T_2 = \\frac{4}{\\pi^3 c^2 \\ln c}

    They correspond to nominal displacements of half a pixel and of n/(πc) pixels. The range is empty (T1 ≥
    T2) if c ≥ 2n/π. At T2 and c = 3 a third of the fields still fold.

    Raises:
        ValueError: c = 1, for which the nominal displacement is not defined.

    >>> [f"{t:.3e}" for t in allowed_range(32, 3)]
    ['2.829e-04', '1.305e-02']
    """
    low = 0.25 / _square_at_one(n, c, "nominal", "code")
    return low, 4 / (math.pi**3 * c**2 * math.log(c))


def outside(temperature: float, n: int, c: int, *, may_fold: bool = True) -> str:
    """Return a warning if the temperature is outside the allowed range on n pixels, else ""."""
    low, high = allowed_range(n, c)
    at = f"temperature {temperature:.4g} at c = {c} on {n} pixels"
    if low >= high:
        return f"{at}: no temperature is allowed, since c ≥ 2n/π = {2 * n / math.pi:.3g}. Lower c."
    if temperature < low * (1 - 1e-9):
        return f"{at} is below T1 = {low:.4g}: pixels move by less than half a pixel. Raise it."
    if may_fold and temperature > high * (1 + 1e-9):
        return f"{at} is above T2 = {high:.4g}: many fields fold the image. Lower it, or set reject_folded."
    return ""


def _square_at_one(n: int, c: int, displacement: str, cutoff: str) -> float:
    """Return the squared displacement in pixels at temperature 1."""
    choice("displacement", displacement, DISPLACEMENTS)
    choice("cutoff", cutoff, CUTOFFS)
    size = integer("n", n, least=3)
    if displacement == "exact":
        return size**2 * float((spectrum(c, cutoff) ** 2).sum()) / 2
    if integer("c", c, most=MOST_MODES) == 1:
        raise ValueError(
            "at c = 1 the nominal displacement is zero at every temperature (ln 1 = 0): use "
            "displacement='exact' with cutoff='code', or c of at least 2."
        )
    return math.pi * size**2 * math.log(c) / 4
