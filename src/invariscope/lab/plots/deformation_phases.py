"""One image, deformed at each combination of temperature and cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.checks import integer
from invariscope.plots.shared.base import Drawing
from invariscope.plots.shared.grid import stretch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class DeformationPhases(Drawing):
    """One image, deformed by a field per temperature (columns) and cutoff (rows).

    Between the lines T1 and T2, fields deform the image visibly, typically without folding it. The figure is
    made from an image, not from a result, so it is not part of reports.

    Args:
        images: (cutoff, temperature, H, W) in [0, 1].
        temperatures: increasing by a constant factor.
        cutoffs: one per row.
        ranges: (cutoff, 2), the limits T1 and T2 of the allowed temperatures; an empty range has T1 ≥ T2.
    """

    images: np.ndarray
    temperatures: tuple[float, ...]
    cutoffs: tuple[int, ...]
    ranges: np.ndarray

    @classmethod
    def prepare(
        cls, image: Any, *, cutoffs: Sequence[int] = (2, 3, 5, 8, 12), columns: int = 8, seed: int = 0
    ) -> DeformationPhases:
        """Deform the image at each cutoff, at temperatures from half the lowest T1 to twice the highest T2.

        Args:
            image: a tensor (H, W) or (C, H, W); channels are averaged.
            cutoffs: for each row, the largest number of half waves in its fields, at least 2.
            columns: number of temperatures.
            seed: seed of the fields; those in one row differ only in amplitude.
        Raises:
            ValueError: fewer than two temperatures, or an image too small for a cutoff.
        """
        import torch

        integer("columns", columns, least=2, what="temperatures")
        values = torch.as_tensor(image).double()
        values = values.mean(dim=0) if values.ndim == 3 else values
        ranges = _ranges(min(values.shape), cutoffs)
        temperatures = np.geomspace(ranges[:, 0].min() / 2, 2 * ranges[:, 1].max(), columns)
        moved = [[_deformed(values, t, c, seed) for t in temperatures.tolist()] for c in cutoffs]
        return cls(stretch(np.array(moved)), tuple(temperatures.tolist()), tuple(cutoffs), ranges)

    @property
    def allowed(self) -> np.ndarray:
        """Whether each temperature is within the range of its row, (cutoff, temperature)."""
        low, high = self.ranges[:, :1], self.ranges[:, 1:]
        return (np.array(self.temperatures) >= low) & (np.array(self.temperatures) <= high)

    def columns_of(self, temperatures: np.ndarray) -> np.ndarray:
        """Return the positions of temperatures on the x axis; column k is centred at k + ½."""
        logs = np.log(self.temperatures)
        return 0.5 + (np.log(temperatures) - logs[0]) / (logs[1] - logs[0])

    def paint(self, canvas: Canvas) -> None:
        """Draw the images; those outside the allowed range are faded."""
        rows, columns = self.images.shape[:2]
        ax = canvas.panel(1.4 + 0.95 * columns, 1.1 + 0.95 * rows)
        for (i, k), allowed in np.ndenumerate(self.allowed):
            place = (k + 0.04, k + 0.96, i + 0.96, i + 0.04)
            ax.imshow(
                self.images[i, k], cmap="gray", vmin=0, vmax=1, alpha=1.0 if allowed else 0.3, extent=place
            )
        _draw_ranges(ax, self.columns_of(self.ranges), canvas)
        ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
        ax.spines[:].set_visible(False)
        ax.set_xticks(np.arange(columns) + 0.5, [_power_of_ten(t) for t in self.temperatures])
        ax.set_yticks(np.arange(rows) + 0.5, [str(c) for c in self.cutoffs])
        canvas.axis_titles(ax, "temperature T", "cutoff c")
        canvas.legend(ax)


def _power_of_ten(value: float) -> str:
    """Return a number with one significant digit.

    >>> _power_of_ten(0.00083), _power_of_ten(0.0262)
    ('8·10⁻⁴', '3·10⁻²')
    """
    digit, _, exponent = f"{value:.0e}".partition("e")
    return f"{digit}·10{str(int(exponent)).translate(_RAISED)}"


def _ranges(n: int, cutoffs: Sequence[int]) -> np.ndarray:
    from invariscope.transforms import Diffeomorphism

    return np.array([Diffeomorphism.allowed_range(n, c) for c in cutoffs])


def _deformed(image: Any, temperature: float, c: int, seed: int) -> np.ndarray:
    import warnings

    from invariscope.transforms import Diffeomorphism

    with warnings.catch_warnings():  # the figure itself shows which temperatures are out of range
        warnings.simplefilter("ignore", UserWarning)
        transform = Diffeomorphism(1, temperature=temperature, c=c)
        return transform.orbit(image[None, None], seed=seed)[0, 0, 0].numpy()


def _draw_ranges(ax: Axes, edges: np.ndarray, canvas: Canvas) -> None:
    """Draw T1 and T2 as lines with a step at every row."""
    for name, x, colour in zip(("T1", "T2"), edges.T, canvas.colours.series[:2], strict=True):
        rows = np.arange(len(x) + 1)
        ax.plot(np.repeat(x, 2), np.repeat(rows, 2)[1:-1], color=colour, linewidth=2.2, label=name)
