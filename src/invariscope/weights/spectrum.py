"""Spectra of convolution filters, from smooth ones (which pool) to rough ones (which compare pixels)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.cards import Described
from invariscope.weights._filters import FilterBank, filter_bank

if TYPE_CHECKING:
    import pandas as pd

# Eigenvalues are sums of two cosines; equal ones differ only by rounding.
_SAME = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class Modes(Described):
    """An orthonormal basis of images, with the frequency of each basis image.

    Args:
        eigenvalues: (mode,) frequencies λ, ascending.
        vectors: (mode, h, w) basis images.
    """

    eigenvalues: np.ndarray
    vectors: np.ndarray

    @property
    def spaces(self) -> np.ndarray:
        """(mode,) index of each mode's eigenspace."""
        return np.cumsum(np.diff(self.eigenvalues, prepend=self.eigenvalues[0]) > _SAME)


def laplacian_modes(height: int, width: int) -> Modes:
    """Return the eigenvectors of the Laplacian of the pixel grid with four neighbours and a free boundary.

    .. math:: (L w)(s) = \\sum_{s' \\sim s} (w(s) - w(s')), \\qquad
        \\lambda_{ij} = 4 - 2\\cos(\\pi i / h) - 2\\cos(\\pi j / w), \\qquad
        \\Psi_{ij}(y, x) \\propto \\cos\\frac{\\pi i (y + 1/2)}{h} \\cos\\frac{\\pi j (x + 1/2)}{w}

    Args:
        height, width: size of the filters in pixels.

    >>> modes = laplacian_modes(3, 3)
    >>> modes.eigenvalues.round(9).tolist()
    [0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 4.0, 6.0]
    """
    (down, rows), (across, columns) = _path_modes(height), _path_modes(width)
    eigenvalues = (down[:, None] + across[None, :]).ravel()
    vectors = np.einsum("iy,jx->ijyx", rows, columns).reshape(-1, height, width)
    order = np.argsort(eigenvalues, kind="stable")
    return Modes(eigenvalues[order], vectors[order])


def _path_modes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues (mode,) and orthonormal eigenvectors (mode, pixel) of a row of pixels."""
    number, pixel = np.arange(size), np.arange(size) + 0.5
    vectors = np.cos(np.pi * number[:, None] * pixel / size)
    return 2 - 2 * np.cos(np.pi * number / size), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def mode_power(filters: np.ndarray, modes: Modes) -> np.ndarray:
    """Return the part of each filter's squared norm in each eigenspace, (..., eigenspace).

    The result does not depend on the choice of basis within an eigenspace.

    Args:
        filters: (..., h, w).
        modes: modes of images of that size.

    >>> mode_power(np.full((3, 3), 2.0), laplacian_modes(3, 3)).round(9).tolist()
    [36.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """
    squares = np.einsum("...yx,myx->...m", filters, modes.vectors) ** 2
    return np.add.reduceat(squares, np.unique(modes.spaces, return_index=True)[1], axis=-1)


@dataclass(frozen=True, eq=False, repr=False)
class FilterSpectrum(Described):
    """Mean power of a layer's filters in each eigenspace of the grid Laplacian.

    Args:
        layer: name of the layer.
        eigenvalues: (eigenspace,) the frequencies λ; 0 is the mean over the filter.
        multiplicity: (eigenspace,) dimension of each eigenspace.
        power: (eigenspace,) c_λ, which sums to the mean squared norm of a filter.
        start: (eigenspace,) c_λ at the start of training; NaN if unknown.
    """

    layer: str
    eigenvalues: np.ndarray
    multiplicity: np.ndarray
    power: np.ndarray
    start: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """(eigenspace,) c_λ divided by its value at the start, NaN if that is unknown or zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.start > 0, self.power / self.start, np.nan)

    @property
    def mean_frequency(self) -> float:
        """Σ λ c_λ / Σ c_λ; NaN if all filters are zero."""
        return float(mean_frequency(self.power, self.eigenvalues))

    @property
    def table(self) -> pd.DataFrame:
        """One row per eigenspace: layer, eigenvalue, multiplicity, power, ratio."""
        import pandas as pd

        columns = {"eigenvalue": self.eigenvalues, "multiplicity": self.multiplicity, "power": self.power}
        return pd.DataFrame({"layer": self.layer, **columns, "ratio": self.ratio})


def mean_frequency(power: np.ndarray, eigenvalues: np.ndarray) -> np.ndarray:
    """Return the mean eigenvalue (...), weighted by the power (..., eigenspace); NaN if all power is zero.

    >>> float(mean_frequency(np.array([1.0, 3.0]), np.array([0.0, 4.0])))
    3.0
    """
    with np.errstate(invalid="ignore"):
        return power @ eigenvalues / power.sum(axis=-1)


def filter_spectrum(weights: Any, layer: str | None = None, *, start: Any = None) -> FilterSpectrum:
    """Return the spectrum of a layer's filters, from smooth to rough, and its change during training.

    .. math:: c_\\lambda = \\sum_{\\Psi:\\, L\\Psi = \\lambda\\Psi}
        \\langle (w_{oi} \\cdot \\Psi)^2 \\rangle_{oi}

    with L the Laplacian of the filter's own k × k pixels and the mean over all pairs of output and input
    channels. For independent weights of equal variance, c_λ is proportional to the multiplicity. If the ratio
    c_λ / c_λ(start) is largest at λ = 0, training has turned the filters into local averages: they pool.

    Caveats: the ratio also grows if all weights grow. Compare it between eigenvalues, or divide it by the
    ratio of the sums.

    Args:
        weights: a module, a state dict, or filters (out, in, k, k).
        layer: name of a convolution; may be None if there is only one.
        start: the same network or filters before training; without them, ratios are NaN.
    Raises:
        TypeError: the type of the weights is not supported.
        ValueError: no convolution, no such layer, or a different shape at the start.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, section on spatial pooling.

    >>> filter_spectrum(np.ones((4, 2, 3, 3)), start=np.full((4, 2, 3, 3), 0.5)).table[:2]
         layer  eigenvalue  multiplicity  power  ratio
    0  filters         0.0             1    9.0    4.0
    1  filters         1.0             2    0.0    NaN
    """
    return spectrum_of(filter_bank(weights, layer), None if start is None else filter_bank(start, layer))


def spectrum_of(bank: FilterBank, start: FilterBank | None = None) -> FilterSpectrum:
    """Return the spectrum of given filters.

    Raises:
        ValueError: the filters at the start have a different shape.
    """
    if start is not None and start.filters.shape != bank.filters.shape:
        raise ValueError(
            f"filters of {bank.layer!r} have shape {bank.filters.shape}, but those at the start have shape "
            f"{start.filters.shape}: give the same network before training."
        )
    modes = laplacian_modes(*bank.filters.shape[2:])
    first = np.unique(modes.spaces, return_index=True)[1]
    power = _mean_power(bank, modes)
    return FilterSpectrum(
        layer=bank.layer,
        # Remove the rounding errors of the cosines.
        eigenvalues=np.abs(modes.eigenvalues[first].round(9)),
        multiplicity=np.bincount(modes.spaces),
        power=power,
        start=np.full_like(power, np.nan) if start is None else _mean_power(start, modes),
    )


def _mean_power(bank: FilterBank, modes: Modes) -> np.ndarray:
    """Return the mean power (eigenspace,), with values at rounding level set to zero."""
    power = mode_power(bank.pairs, modes).mean(axis=0)
    return np.where(power > power.sum() * np.finfo(float).eps ** 2 * bank.pairs[0].size, power, 0.0)
