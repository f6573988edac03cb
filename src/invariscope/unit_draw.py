"""Random draws of a layer's units, two per bin, and the error of estimates computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Draws, Stream

DRAWN = 4096
WHOLE = 1 << 16
# An interval needs this many live units and, if the draw matters, degrees of freedom
# (benchmarks/drawn_units.py).
MIN_LIVE, _MIN_FREEDOM = 64, 10
MORE_UNITS = "raise units= to draw more of them"


@dataclass(frozen=True)
class UnitDraw:
    """Units drawn from a layer: two different ones from each of `count` / 2 bins of neighbouring units.

    Units are numbered in logical order (channel, row, column), however the layer stores them. The draw
    depends only on the seed and the number of units, so layers of one size share it, in every network and
    process, and so do views of a layer.

    Args:
        shape: the layer's own unit shape, with at least two units per bin.
        count: number of units to draw, even.
        seed: seed of the measurement.

    >>> draw = UnitDraw((10, 10, 10), 8, seed=0)
    >>> (draw.indices.reshape(-1, 2) // 250).tolist()
    [[0, 0], [1, 1], [2, 2], [3, 3]]
    """

    shape: tuple[int, ...]
    count: int
    seed: int

    @classmethod
    @lru_cache(maxsize=128)
    def of(cls, shape: tuple[int, ...], units: int | str, *, seed: int) -> UnitDraw | None:
        """Return the draw for a layer of this shape; None if all of its units are taken.

        Args:
            units: "all", a number, or "auto" for 4,096 units of layers with more than 65,536. Layers are
                taken whole if more than a quarter of their units would be drawn.

        >>> UnitDraw.of((64, 8, 8), "auto", seed=0) is None, UnitDraw.of((64, 64, 64), "auto", seed=0).count
        (True, 4096)
        """
        total = prod(shape)
        wanted = total if units == "all" else units
        if not isinstance(wanted, int):
            wanted = total if total <= WHOLE else DRAWN
        return None if wanted > total / 4 or wanted < 2 else cls(tuple(shape), wanted // 2 * 2, seed)

    @property
    def total(self) -> int:
        """Number of units in the layer."""
        return prod(self.shape)

    @cached_property
    def _edges(self) -> np.ndarray:
        bins = self.count // 2
        return np.arange(bins + 1) * self.total // bins

    @cached_property
    def sizes(self) -> np.ndarray:
        """(bin,) number of units in each bin."""
        return np.diff(self._edges)

    @cached_property
    def indices(self) -> np.ndarray:
        """(unit,) positions of the drawn units in the flat layer; the two of each bin are neighbours here."""
        bins = np.arange(len(self.sizes))
        draws = Draws(self.seed, bins, 2, Stream.DRAWN_UNIT, path=(self.total,)).uniform()
        first, second = (draws * (self.sizes[:, None] - [0, 1])).astype(np.int64).T
        second += second >= first  # uniform among the others
        return (self._edges[:-1, None] + np.stack([first, second], axis=1)).ravel()

    @cached_property
    def weights(self) -> np.ndarray:
        """(unit,) number of units that each drawn unit represents, divided by the mean of these numbers."""
        return np.repeat(self.sizes / self.sizes.mean(), 2)

    def take(self, values: Tensor) -> Tensor:
        """Return a copy of the drawn units' (row, drawn) responses, from those of all units."""
        last = values.ndim == 4 and not values.is_contiguous()
        last = last and values.is_contiguous(memory_format=torch.channels_last)
        flat = (values.permute(0, 2, 3, 1) if last else values).flatten(1)
        return flat.index_select(1, self._places(flat.device, last))

    @lru_cache(maxsize=128)  # noqa: B019  draws of one shape are one object
    def _places(self, device: torch.device, channels_last: bool) -> Tensor:
        """Return the positions of the drawn units in stored order, as a tensor on the device."""
        places = self.indices
        if channels_last:
            channels, height, width = self.shape
            channel, position = np.divmod(places, height * width)
            places = position * channels + channel
        return torch.from_numpy(places).to(device)

    def in_layer(self, values: np.ndarray) -> np.ndarray:
        """Return (..., drawn) values at their places in the layer's shape, NaN elsewhere."""
        whole = np.full((*values.shape[:-1], self.total), np.nan, values.dtype)
        whole[..., self.indices] = values
        return whole.reshape(*values.shape[:-1], *self.shape)

    def channel_sums(self, values: np.ndarray) -> np.ndarray:
        """Return (replicate, channel) sums of (replicate, drawn) values, scaled up to all positions.

        A channel without a drawn unit has the sum NaN. The channels are the entries of the first unit axis; a
        flat layer is one channel.
        """
        channels = self.shape[0] if len(self.shape) > 1 else 1
        positions = self.total // channels
        place = self.indices // positions
        drawn = np.bincount(place, minlength=channels)
        sums = np.stack([np.bincount(place, row, minlength=channels) for row in values.astype(float)])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(drawn > 0, sums * (positions / drawn), np.nan)

    def contrasts(self, residuals: np.ndarray) -> np.ndarray:
        r"""Return (bin,) numbers whose squares sum to the variance that drawing causes.

        .. math:: v = \sum_h \Bigl(\frac{b_h}{U}\Bigr)^2 \Bigl(1 - \frac{2}{b_h}\Bigr)
            \frac{(e_{h1} - e_{h2})^2}{4}

        Args:
            residuals: (drawn,) what each unit adds to the estimate, relative to its mean.

        >>> UnitDraw((40,), 4, seed=0).contrasts(np.array([1.0, -1.0, 0.0, 0.0])).round(4).tolist()
        [0.4743, 0.0]
        """
        first, second = residuals.reshape(-1, 2).T
        return self.sizes / self.total * np.sqrt(1 - 2 / self.sizes) * (first - second) / 2


@dataclass(frozen=True)
class DrawingError:
    """Variance of an estimate due to the draw of units.

    Args:
        contrasts: (bin,) numbers whose squares sum to the variance; see `UnitDraw.contrasts`.
        live: number of drawn units that have a value.
    """

    contrasts: np.ndarray
    live: int

    @property
    def variance(self) -> float:
        """The variance of the estimate."""
        return float(np.square(self.contrasts).sum())

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance, 3 (Σq)²/Σq² with q the squared contrasts."""
        squares = np.square(self.contrasts)
        return float(3 * squares.sum() ** 2 / np.square(squares).sum()) if squares.any() else float("inf")

    def too_few_units(self, of_samples: float) -> str:
        """Explain why too few units were drawn for an interval; "" if there are enough.

        Args:
            of_samples: variance of the estimate due to the samples; NaN if unknown.

        >>> DrawingError(np.ones(9), 63).too_few_units(0.0)[:53]
        'no interval: 63 of the drawn units have a value, but '
        >>> DrawingError(np.ones(9), 64).too_few_units(0.0)
        ''
        """
        if not self.variance:
            return ""
        if self.live < MIN_LIVE:
            few = f"{self.live} of the drawn units have a value, but {MIN_LIVE} are needed"
            return f"no interval: {few}; {MORE_UNITS}"
        if self.freedom >= _MIN_FREEDOM or not self.variance > (self.variance + of_samples) / 10:
            return ""
        return f"no interval: a few of the drawn units decide the value; {MORE_UNITS}"

    def times(self, factor: float) -> DrawingError:
        """Return the error of the estimate multiplied by a factor."""
        return DrawingError(self.contrasts * factor, self.live)

    @classmethod
    def mean(cls, errors: list[DrawingError]) -> DrawingError:
        """Return the error of a mean of estimates from the same draw."""
        contrasts = np.mean([error.contrasts for error in errors], axis=0)
        return cls(contrasts, min(error.live for error in errors))
