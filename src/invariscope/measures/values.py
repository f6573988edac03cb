"""Inputs and return values of measures' formulas, and descriptions of their outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from invariscope.unit_draw import DrawingError, UnitDraw

SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Output:
    """Description of one output of a measure, such as a row of the table or a curve.

    Args:
        title: a few words for tables.
        range: smallest and largest possible value.
        ideal: the value of a perfectly invariant or equivariant layer; NaN if there is none.
        unit: "activation" if the value has units of the activation, so that no absolute value counts as
            small.
        kind: "number"; "unit" if only the map is meaningful (a mean of p-values is not); "position" if it is
            an index in a list, so that means over classes are meaningless.
        interval: whether it can have an interval; otherwise only the value over all samples is computed.
        floor: whether it depends on the transformed inputs, so that round trips yield a floor.
        of_partners: whether it depends on the samples' partners, as the null of every paired statistic does.
        noise_ratio: the output that divides this one by the same quantity for noise; "" if there is none.
    """

    title: str
    range: tuple[float, float] = (0.0, float("inf"))
    ideal: float = 0.0
    unit: str = ""
    kind: str = "number"
    interval: bool = True
    floor: bool = True
    of_partners: bool = False
    noise_ratio: str = ""


@dataclass(frozen=True)
class LayerContext:
    """Facts about the layer whose statistics a formula evaluates.

    Args:
        layer, call: name of the layer, and number of its run within one forward pass.
        shape: the layer's own unit shape, such as (C, H, W).
        reference: per-unit transformation variance of the same layer with random weights, for measures that
            request it.
        dead: (unit...) mask of units found dead at full precision, if the model ran at a lower one.
        input_shape: the shape of one input, such as (3, 32, 32).
        resolution: relative precision of the responses, for example after an interpolating action; 0 means
            rounding only.
        identity: position of the identity element; None if there is none.
        draw: the units that were drawn from the layer; None if the statistics hold all of them.
    """

    layer: str
    call: int
    shape: tuple[int, ...]
    reference: np.ndarray | None = None
    dead: np.ndarray | None = None
    input_shape: tuple[int, ...] = ()
    resolution: float = 0.0
    identity: int | None = None
    draw: UnitDraw | None = None

    def moved(self, elements: int) -> np.ndarray:
        """Return an (element,) mask, False for the identity, whose discrepancy is 0 by construction.

        >>> LayerContext("fc", 0, (10,), identity=0).moved(3).tolist()
        [False, True, True]
        """
        return np.arange(elements) != (-1 if self.identity is None else self.identity)


@dataclass(frozen=True)
class UnitValues:
    """Per-unit values of one layer, and what determines the layer's own value.

    Args:
        values: (replicate, unit...): replicate 0 uses all samples, and each of the others leaves out one
            group. With `draw`, (replicate, drawn); the other arrays have one axis of drawn units, too.
        counted: (unit...) mask of the units whose mean is the layer's value.
        dead, sparse, infinite, masked: number of units left out, by reason; masked units left the image.
        ratio: (replicate,) ratio of the layer's means, for measures that are ratios.
        null: (unit...) the value expected if the pairing is destroyed, or None.
        note: a note for readers of the layer's value.
        uncovered: why the layer's value has no valid interval; "" if it has one.
        reach: factor by which its interval is widened.
        examined: (unit...) mask of the units that were examined; None for all.
        draw: the draw of the units; None if they are all units of the layer.
        ratio_error: error of the ratio due to the draw; None without a draw.
        selected: whether the counted units were selected by their values, so that the error due to the draw
            is unknown.
    """

    values: np.ndarray
    counted: np.ndarray
    dead: int = 0
    sparse: int = 0
    infinite: int = 0
    ratio: np.ndarray | None = None
    null: np.ndarray | None = None
    masked: int = 0
    note: str = ""
    uncovered: str = ""
    reach: float = 1.0
    examined: np.ndarray | None = None
    draw: UnitDraw | None = None
    ratio_error: DrawingError | None = None
    selected: bool = False

    @property
    def units(self) -> int:
        """Number of units examined."""
        return self.counted.size if self.examined is None else int(self.examined.sum())

    @property
    def total(self) -> int:
        """Number of units of the layer."""
        return self.counted.size if self.draw is None else self.draw.total

    def layer_values(self) -> np.ndarray:
        """Return the (replicate,) mean over counted units with a finite value; NaN if there are none."""
        return self._layer_values

    def layer_null(self) -> float:
        """Return the mean of the null over the counted units."""
        return self._layer_null

    # Measures that compute many strata together set these two beforehand.
    @cached_property
    def _layer_values(self) -> np.ndarray:
        kept = self.counted & np.isfinite(self.values)
        return layer_means(self.values, kept, None if self.draw is None else self.draw.weights)

    @cached_property
    def _layer_null(self) -> float:
        if self.null is None or not self.counted.any():
            return float("nan")
        weights = None if self.draw is None else self.draw.weights[self.counted]
        return float(np.average(self.null[self.counted], weights=weights))

    def layer_error(self) -> DrawingError | None:
        """Return the error of the layer's value due to the draw; None without a draw, or if unknown."""
        if self.draw is None or self.selected:
            return None
        kept = self.counted & np.isfinite(self.values[0])
        return drawing_error(np.where(kept, self.values[0], 0.0), kept.astype(float), self.draw)


@dataclass(frozen=True)
class ElementValues:
    """A curve over the elements, whose mean is the layer's value.

    Args:
        values: (replicate, element): replicate 0 uses all samples, and each of the others leaves out one
            group.
        uncovered: why the values have no valid intervals; "" if they have.
        rare: (element,) mask of elements whose own value has no interval.
        counted: (element,) mask of elements that enter the mean; None for all. Values of the identity that
            are known in advance, such as a flip rate of 0, do not count; see `LayerContext.moved`.
        null: the value expected if the pairing is destroyed, if it is known.
    """

    values: np.ndarray
    uncovered: str = ""
    rare: np.ndarray | None = None
    counted: np.ndarray | None = None
    null: float | None = None

    def layer_values(self) -> np.ndarray:
        """Return the (replicate,) mean over counted elements with a value; NaN if there are none.

        >>> ElementValues(np.array([[0.0, 1.0, np.nan, 0.5]]), counted=np.arange(4) > 0).layer_values()
        array([0.75])
        """
        return layer_means(
            self.values, ~np.isnan(self.values) & (True if self.counted is None else self.counted)
        )


@dataclass(frozen=True)
class LayerValues:
    """One number per layer that is not a mean over units, such as a distance between vectors.

    Args:
        values: (replicate,): replicate 0 uses all samples, and each of the others leaves out one group.
        null: the value expected if the pairing is destroyed.
        undefined: number of terms left out because they are undefined (such as the cosine of a zero
            vector); None if terms of this kind are always defined.
        note: a note for readers of the value, such as why it is missing.
        uncovered: why the value has no valid interval; "" if it has one.
        reach: factor by which its interval must be widened for correct coverage, found by simulation.
        error: error due to a draw of units; None if the value takes all units.
    """

    values: np.ndarray
    null: float = float("nan")
    undefined: int | None = None
    note: str = ""
    uncovered: str = ""
    reach: float = 1.0
    error: DrawingError | None = None

    def layer_error(self) -> DrawingError | None:
        """Return the error of the value due to a draw of units; None if it takes all units."""
        return self.error


# The axis of a curve over elements whose mean is not a summary, such as a position in the data.
BY_ELEMENT = "element"


@dataclass(frozen=True)
class CurveValues:
    """A curve along its own axis rather than over the elements; it has no summary value.

    Args:
        values: (replicate, point): replicate 0 uses all samples, and each of the others leaves out one group.
        parameter: name of the axis, with its unit: "frequency_cpp"; `BY_ELEMENT`: the elements, whose own
            positions and labels then appear in the result.
        x: (point,) positions on the axis.
        labels: (point,) the positions in words.
        units: (unit..., point) the curve of each unit or channel, which the result keeps as a map.
    """

    values: np.ndarray
    parameter: str
    x: tuple[float, ...]
    labels: tuple[str, ...]
    units: np.ndarray | None = None


Values = UnitValues | ElementValues | LayerValues | CurveValues


def drawing_error(above: np.ndarray, below: np.ndarray, draw: UnitDraw) -> DrawingError:
    """Return the error, due to the draw of units, of the ratio of two sums over units.

    Args:
        above, below: (drawn,) what each unit adds to the numerator and to the denominator.
    """
    down = float(draw.weights @ below)
    if not down > 0:
        return DrawingError(np.zeros(len(draw.sizes)), 0)
    residuals = (above - draw.weights @ above / down * below) * (draw.count / down)
    return DrawingError(draw.contrasts(residuals), int(np.count_nonzero(below)))


def layer_means(values: np.ndarray, kept: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the (replicate,) mean over the kept values of each replicate; NaN if there are none."""
    values = np.where(kept, values, 0.0).reshape(len(kept), -1)
    counts, sums = kept.reshape(len(kept), -1).sum(axis=1), values.sum(axis=1)
    if weights is not None:
        counts, sums = kept @ weights, values @ weights
    return np.divide(sums, counts, out=np.full(len(kept), np.nan), where=counts > 0)
