"""Distances between whole representations: along orbits, across samples, and their ratio."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import refuse_other, set_integers
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.interval_limits import limits_of_uneven
from invariscope.measures.values import LayerContext, LayerValues, Output, UnitValues, Values, drawing_error
from invariscope.measures.variance_parts import Parts
from invariscope.statistics.base import Statistic
from invariscope.statistics.cosine_sums import CosineSums
from invariscope.statistics.kept.reservoir import Reservoir
from invariscope.statistics.mean_distances import LayerDistances, MeanDistances
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.statistics.moments.variances import Moments
from invariscope.statistics.rounding import quotient
from invariscope.unit_draw import DrawingError, UnitDraw

DISTANCES = ("sqeuclidean", "euclidean", "cosine")


@dataclass(frozen=True, kw_only=True)
class _Distance(Measure):
    """Options of the distance measures.

    Args:
        distance: "sqeuclidean": squared Euclidean, exact, from the sums of the variance measures; "cosine": 1
            − cos, exact; responses of length zero are left out and counted; "euclidean": exact along orbits;
            across samples, the mean over all pairs within a reservoir.
        reservoir: number of samples per stratum that "euclidean" compares. Their orbits are kept: 4 bytes per
            unit, element and sample, for each class and jackknife group.
        seed: seed of the reservoir, which is drawn by sample key.
    """

    distance: str = "sqeuclidean"
    reservoir: int = 64
    seed: int = 0

    maps_differ: ClassVar[bool] = True
    along_orbits: ClassVar[bool] = True
    unit: ClassVar[str] = ""

    def __post_init__(self) -> None:
        refuse_other(self, distance=DISTANCES)
        set_integers(self, reservoir=2, what="samples")

    def outputs(self) -> dict[str, Output]:
        """Describe the layer's distance and, for feature maps, the distance of each channel."""
        return {
            "": Output("distance", unit=self.unit),
            "channels": Output("distance per channel", unit=self.unit),
        }

    def statistics(self) -> tuple[Statistic]:
        """Return the variance measures' moments, sums of directions, or a reservoir."""
        if self.distance == "sqeuclidean":
            return (OrbitMoments(),)
        return (CosineSums(),) if self.distance == "cosine" else (Reservoir(self.reservoir, self.seed),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return the layer's value and, for layers with two or more unit axes, one per channel."""
        (final,) = finals
        found, error = final, None
        if isinstance(final, Moments):
            parts = Parts(final, final, standard=False, known_dead=layer.dead, draw=layer.draw)
            found, error = _squared(parts), None if layer.draw is None else self._error(parts, layer.draw)
        whole, nulls = self._of(found.layer), self._null(found.layer)
        null = float("nan") if nulls is None else float(nulls[0])
        undefined = found.layer.undefined if self.distance == "cosine" else None
        limits = limits_of_uneven(*found.layer.decisive) if self.along_orbits else {}
        outputs: dict[str, Values] = {"": LayerValues(whole[:, 0], null, undefined, error=error, **limits)}
        if found.channels is not None:
            still = (found.channels.along[0] == 0) & (found.channels.across[0] == 0)
            values = np.where(still, np.nan, self._of(found.channels))
            live = np.isfinite(values[0])
            nulls, dead = self._null(found.channels), int((~live).sum())
            outputs["channels"] = UnitValues(values, live, dead=dead, null=nulls, **limits)
        return outputs

    @abc.abstractmethod
    def _of(self, found: MeanDistances) -> np.ndarray: ...

    @abc.abstractmethod
    def _null(self, found: MeanDistances) -> np.ndarray | None: ...

    @abc.abstractmethod
    def _error(self, parts: Parts, draw: UnitDraw) -> DrawingError: ...

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute every pair, one after the other."""
        n, m = activations.shape[:2]
        views = {"": activations.reshape(n, m, 1, -1)}
        if activations.ndim > 3:
            views["channels"] = activations.reshape(*activations.shape[:3], -1)
        found = {}
        for output, vectors in views.items():
            along = _naive(vectors, self.distance)
            across = _naive(np.swapaxes(vectors, 0, 1), self.distance)
            values = self._of(MeanDistances(along, across, np.zeros(3)))
            found[output] = values if output else values[0]
        return found

    @classmethod
    def examples(cls) -> tuple[_Distance, ...]:
        """Return one instance per distance."""
        return tuple(cls(distance=distance) for distance in DISTANCES)


@dataclass(frozen=True, kw_only=True)
class TransformationDistance(_Distance):
    """How much the transformation changes the response of a whole layer.

    Distance between two responses to one sample, averaged over pairs of elements and over samples.

    .. math:: TD = \\langle \\mathrm{mean}_{j<k}\\, d(A_{ij}, A_{ik}) \\rangle_i

    Shapes: activations (sample, element, unit...) to one number per layer, for the vector of all its units.
    Layers with two or more unit axes have a second output, `channels`: one number per entry of the first axis
    (the channels of feature maps), for the vector of its positions. Flat layers do not have it: their
    "channels" would be the units of :class:`TransformationVariance`. The squared Euclidean distance is
    exactly twice the sum of the units' transformation variances. The null is the expected value if each
    element acted on an independently drawn sample; it is available for "sqeuclidean", from the same sums.

    Caveats: distances grow with the width of a layer and the size of its responses, and the few units that
    vary most dominate. The cosine ignores length, and in a rectified layer all responses point in similar
    directions.

    Reading:
        0 is invariant. Except for the cosine, the distance is in (squared) units of the activation and larger
        for wider layers, so do not compare layers with it: use normalized_distance for that.

    Raises:
        ValueError: an unknown distance, or a reservoir too small for a pair.

    Source:
        Quiroga et al. 2023, Invariance measures for neural networks, arXiv:2310.17404.

    >>> TransformationDistance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    np.float64(2.0)
    """

    fewest_elements: ClassVar[int] = 2

    unit: ClassVar[str] = "activation"

    def _of(self, found: MeanDistances) -> np.ndarray:
        return found.along

    def _null(self, found: MeanDistances) -> np.ndarray | None:
        return found.null

    def _error(self, parts: Parts, draw: UnitDraw) -> DrawingError:
        return _error_of_sum(parts.transformation[0], draw)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return vectors of two units, including zero vectors, and maps of two channels and positions."""
        return (
            KnownAnswer({}, _FLAT, 17.0),
            KnownAnswer({"distance": "euclidean"}, _FLAT, 4.0),
            KnownAnswer({"distance": "cosine"}, _AXES, 1.0),
            KnownAnswer({}, _MAPS, [12.5, 2.0], output="channels"),
            KnownAnswer({"distance": "euclidean"}, _MAPS, [2.5, 1.0], output="channels"),
        )


@dataclass(frozen=True, kw_only=True)
class SampleDistance(_Distance):
    """How much the response of a whole layer differs between samples.

    Distance between two samples' responses to one element, averaged over pairs and over elements.

    .. math:: SD = \\langle \\mathrm{mean}_{i<k}\\, d(A_{ij}, A_{kj}) \\rangle_j

    Shapes and the output `channels` are as for :class:`TransformationDistance`. It is the denominator of
    :class:`NormalizedDistance`. It covers all pairs of samples, also across batches; with "euclidean", all
    pairs within a reservoir of `reservoir` samples.

    Reading:
        0: the layer responds identically to every sample, so its invariance means nothing. Larger: it
        separates samples more. Except for the cosine, the distance is in (squared) units of the activation
        and larger for wider layers, so do not compare layers with it.

    Source:
        Quiroga et al. 2023, Invariance measures for neural networks, arXiv:2310.17404.

    >>> SampleDistance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    np.float64(10.0)
    """

    along_orbits: ClassVar[bool] = False

    def _of(self, found: MeanDistances) -> np.ndarray:
        return found.across

    def _null(self, found: MeanDistances) -> np.ndarray | None:
        return None

    def _error(self, parts: Parts, draw: UnitDraw) -> DrawingError:
        return _error_of_sum(parts.sample[0], draw)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return vectors of two units, including zero vectors, and maps of two channels and positions."""
        return (
            KnownAnswer({}, _FLAT, 5.0),
            KnownAnswer({"distance": "euclidean"}, _FLAT, 2.0),
            KnownAnswer({"distance": "cosine"}, _AXES, 4 / 3),
            KnownAnswer({}, _MAPS, [8.5, 3.0], output="channels"),
        )


@dataclass(frozen=True, kw_only=True)
class NormalizedDistance(_Distance):
    """How much the transformation changes a layer's response, relative to a change of sample.

    Distance along orbits relative to the distance between samples.

    .. math:: ND = \\frac{TD}{SD}
        = \\frac{\\langle \\mathrm{mean}_{j<k}\\, d(A_{ij}, A_{ik}) \\rangle_i}
               {\\langle \\mathrm{mean}_{i<k}\\, d(A_{ij}, A_{kj}) \\rangle_j}

    Shapes and the output `channels` are as for :class:`TransformationDistance`. With the squared Euclidean
    distance it is the ratio of the layer's mean TV to its mean SV, which is also reported with
    :class:`NormalizedVariance`, and the null is 1 + Σ Var_j(mean response to j) / Σ SV. Channels with
    constant responses have no value: they are left out and counted as dead.

    Caveats: those of :class:`NormalizedVariance`, except that a few nearly dead units cannot inflate it. It
    reflects the units of large variance, and hardly any others.

    Reading:
        0: invariant. About 1: the transformation changes the response as much as a change of sample does. The
        units that vary most dominate; the value does not reflect those that vary little.

    Source:
        Quiroga et al. 2023, Invariance measures for neural networks, arXiv:2310.17404.

    >>> NormalizedDistance().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)[""]
    np.float64(0.2)
    """

    fewest_elements: ClassVar[int] = 2

    def _of(self, found: MeanDistances) -> np.ndarray:
        return quotient(found.along, found.across)

    def _null(self, found: MeanDistances) -> np.ndarray | None:
        return None if found.null is None else quotient(found.null, found.across[0])

    def _error(self, parts: Parts, draw: UnitDraw) -> DrawingError:
        return drawing_error(parts.transformation[0], parts.sample[0], draw)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return vectors of two units, including zero vectors, and maps of two channels and positions."""
        return (
            KnownAnswer({}, _FLAT, 3.4),
            KnownAnswer({"distance": "euclidean"}, _FLAT, 2.0),
            KnownAnswer({"distance": "cosine"}, _AXES, 0.75),
            KnownAnswer({}, _MAPS, [25 / 17, 2 / 3], output="channels"),
        )


def _error_of_sum(variances: np.ndarray, draw: UnitDraw) -> DrawingError:
    """Return the drawing error of the layer's distance, twice the sum of its (drawn,) variances."""
    return drawing_error(variances, np.ones(draw.count), draw).times(2.0 * draw.total)


def _squared(parts: Parts) -> LayerDistances:
    """Return twice the variances, summed over units; NaN if all of them are dead."""
    by_channel = partial(_by_channel, draw=parts.draw)
    along, across = by_channel(parts.transformation), by_channel(parts.sample)
    null = by_channel(parts.null[None])[0]
    alive = by_channel((~parts.dead)[None])[0] > 0
    factor, whole = np.where(alive, 2.0, np.nan), 2.0 if alive.any() else float("nan")
    units = (parts.transformation, parts.sample, parts.null[None])
    sums = [whole * _over_units(part, parts.draw) for part in units]
    decisive = parts.along.decisive
    together = MeanDistances(sums[0], sums[1], decisive, null=sums[2][0])
    if len(parts.dead.shape if parts.draw is None else parts.draw.shape) < 2:
        return LayerDistances(together, None)
    channels = MeanDistances(factor * along, factor * across, decisive, null=factor * null)
    return LayerDistances(together, channels)


def _over_units(values: np.ndarray, draw: UnitDraw | None) -> np.ndarray:
    """Return (replicate, 1) sums over all units of the layer, estimated from the drawn ones if any."""
    flat = values.reshape(len(values), -1)
    if draw is None:
        return flat.sum(axis=1, keepdims=True)
    return (flat @ draw.weights)[:, None] * (draw.total / draw.count)


def _by_channel(values: np.ndarray, draw: UnitDraw | None) -> np.ndarray:
    """Return (replicate, channel) sums over positions; a flat layer is one channel.

    Sums over drawn units are scaled up to all positions; they are NaN for channels without a drawn unit.
    """
    if draw is not None:
        return draw.channel_sums(values)
    return values.sum(axis=tuple(range(2, values.ndim))) if values.ndim > 2 else values.sum(1, keepdims=True)


def _naive(vectors: np.ndarray, distance: str) -> np.ndarray:
    """Return the (vector,) mean over the first axis of the mean distance between pairs along the second."""
    found = []
    for row in vectors:
        pairs = [(row[j], row[k]) for j in range(len(row)) for k in range(j)]
        between = np.array([_naive_distance(a, b, distance) for a, b in pairs])
        found.append(np.nanmean(between, axis=0))
    return np.nanmean(found, axis=0)


def _naive_distance(a: np.ndarray, b: np.ndarray, distance: str) -> np.ndarray:
    if distance == "cosine":
        return 1 - (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    squares = ((a - b) ** 2).sum(-1)
    return squares if distance == "sqeuclidean" else np.sqrt(squares)


_FLAT = [[[3.0, 0.0], [0.0, 4.0]], [[3.0, 1.0], [0.0, 1.0]]]
_AXES = [[[1.0, 0.0], [0.0, 1.0]], [[-2.0, 0.0], [0.0, 3.0]], [[0.0, 0.0], [5.0, 0.0]]]
_MAPS = [
    [[[0.0, 0.0], [0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]],
    [[[0.0, 2.0], [1.0, 0.0]], [[0.0, 2.0], [1.0, 2.0]]],
]
