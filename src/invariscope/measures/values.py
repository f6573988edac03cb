"""What a formula gets, what it returns, and what is said of its outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Output:
    """What one of a measure's values is, whatever the layer.

    Args:
        title: a few words for tables.
        range: smallest and largest possible value.
        ideal: the value of a perfectly invariant or equivariant layer; NaN if there is none.
        unit: "activation" if the value is in units of the activation, so that no absolute size is small.
        kind: "number"; "unit" if only its map means something (a mean of p-values does not); "position" if
            it is a place in a list, so that means over classes are meaningless.
        interval: whether it can have one; otherwise only the value of all samples is computed.
        floor: whether the transformed inputs enter, so that round trips give a floor.
        of_partners: whether it depends on a sample's partner, as the null of every paired statistic does.
        noise_ratio: the output that divides this one by the same of noise; "" if there is none.
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
    """What a formula may know of the layer whose statistics it turns into values.

    Args:
        layer, call: which layer, and which of its runs within one forward.
        shape: the layer's own unit shape, such as (C, H, W).
        reference: per-unit transformation variance of the same layer with random weights, for the
            measures that ask for it.
        dead: (unit...) units found dead at full precision, where the forwards were of a lower one.
        input_shape: the shape of one input, such as (3, 32, 32).
        resolution: responses are known to no better than this share of a unit's size, as when an
            interpolating action has moved them; 0: to rounding.
        identity: position of the element that changes nothing; None if none is known to.
    """

    layer: str
    call: int
    shape: tuple[int, ...]
    reference: np.ndarray | None = None
    dead: np.ndarray | None = None
    input_shape: tuple[int, ...] = ()
    resolution: float = 0.0
    identity: int | None = None

    def moved(self, elements: int) -> np.ndarray:
        """Return an (element,) mask, False for the identity, whose discrepancy is 0 by construction.

        >>> LayerContext("fc", 0, (10,), identity=0).moved(3).tolist()
        [False, True, True]
        """
        return np.arange(elements) != (-1 if self.identity is None else self.identity)


@dataclass(frozen=True)
class UnitValues:
    """Per-unit values of one layer, and what goes into the layer's own value.

    Args:
        values: (replicate, unit...): replicate 0 from all samples, the others without one group.
        counted: (unit...) the units whose mean is the layer's value.
        dead, sparse, infinite, masked: units left out, by reason; masked ones left the image.
        ratio: (replicate,) ratio of the layer's means, for measures that are ratios.
        null: (unit...) the value expected when the pairing is destroyed, or None.
        note: what a reader of the layer's value should know.
        uncovered: why the layer's value can have no interval that covers; "" where it can.
        reach: how many times as wide its interval is to be.
        examined: (unit...) the units that were looked at, where those are not all.
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

    @property
    def units(self) -> int:
        """How many units were looked at."""
        return self.counted.size if self.examined is None else int(self.examined.sum())

    def layer_values(self) -> np.ndarray:
        """(replicate,) mean over the counted units that have a value; NaN where none has."""
        return _means(self.values, self.counted & np.isfinite(self.values))

    def layer_null(self) -> float:
        """Mean of the null over the counted units."""
        if self.null is None or not self.counted.any():
            return float("nan")
        return float(self.null[self.counted].mean())


@dataclass(frozen=True)
class ElementValues:
    """A curve over the elements, whose mean is the layer's value.

    Args:
        values: (replicate, element): replicate 0 from all samples, each other without one group.
        uncovered: why the values have no intervals that cover; "" if they have.
        rare: (element,) elements whose own value has no interval.
        counted: (element,) elements that enter the mean; None for all. Values of the identity that are known
            beforehand, such as a flip rate of 0, do not count; see `LayerContext.moved`.
    """

    values: np.ndarray
    uncovered: str = ""
    rare: np.ndarray | None = None
    counted: np.ndarray | None = None

    def layer_values(self) -> np.ndarray:
        """Return (replicate,) the mean over counted elements that have a value; NaN if none has.

        >>> ElementValues(np.array([[0.0, 1.0, np.nan, 0.5]]), counted=np.arange(4) > 0).layer_values()
        array([0.75])
        """
        return _means(self.values, ~np.isnan(self.values) & (True if self.counted is None else self.counted))


@dataclass(frozen=True)
class LayerValues:
    """(replicate,) one number of a layer that no unit has a part of, such as a distance between vectors.

    Args:
        values: replicate 0 from all samples, the others without one group.
        null: the value expected when the pairing is destroyed.
        undefined: how many terms were left out because they have no value (a zero vector's cosine); None
            if every term of this kind of value has one.
        note: what a reader of the value should know, such as why there is none.
        uncovered: why the value can have no interval that covers; "" where it can.
        reach: how many times as wide its interval must be to cover, as found by simulation.
    """

    values: np.ndarray
    null: float = float("nan")
    undefined: int | None = None
    note: str = ""
    uncovered: str = ""
    reach: float = 1.0


# The axis of a curve of elements that no one number stands for, such as a position in the data.
BY_ELEMENT = "element"


@dataclass(frozen=True)
class CurveValues:
    """A curve along an axis of its own, which is not that of the elements; no one number stands for it.

    Args:
        values: (replicate, point): replicate 0 from all samples, the others without one group.
        parameter: what the axis is, with its unit: "frequency_cpp"; `BY_ELEMENT`: that of the elements, whose
            own places and labels then stand in the result.
        x: (point,) places on the axis.
        labels: (point,) the places in words.
        units: (unit..., point) the curve of each unit or channel, which the result keeps as a map.
    """

    values: np.ndarray
    parameter: str
    x: tuple[float, ...]
    labels: tuple[str, ...]
    units: np.ndarray | None = None


Values = UnitValues | ElementValues | LayerValues | CurveValues


def _means(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return (replicate,) the mean over what is kept of each replicate; NaN if nothing is."""
    counts = kept.reshape(len(kept), -1).sum(axis=1)
    sums = np.where(kept, values, 0.0).reshape(len(kept), -1).sum(axis=1)
    return np.divide(sums, counts, out=np.full(len(kept), np.nan), where=counts > 0)
