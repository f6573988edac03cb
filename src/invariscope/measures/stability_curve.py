"""Stability per element: curves against the size of the displacement."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special
from torch import Tensor

from invariscope.block import Block
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.values import (
    SHARE,
    CurveValues,
    ElementValues,
    LayerContext,
    LayerValues,
    Output,
    Values,
)
from invariscope.statistics.base import Statistic
from invariscope.statistics.counts.prediction_counts import ROWS, predictions
from invariscope.statistics.discrepancy import squared_distances
from invariscope.statistics.kept.sample_table import Columns, SampleStatistic, SampleTable
from invariscope.statistics.probes import EqualNoise, TowardNeighbour, Untransformed
from invariscope.statistics.rounding import quotient
from invariscope.statistics.sample_spread import SampleSpread, Spread

# How an input is changed: by the transformation, by noise, or by a step toward another sample.
WAYS = ("moved", "noisy", "toward")


class _OfWays(SampleStatistic):
    """Base class of statistics of responses to the three `WAYS` of changing an input."""

    paired = True
    reads = (Untransformed(), EqualNoise(), TowardNeighbour())

    def ways(self, block: Block) -> Iterator[tuple[str, Tensor]]:
        """Yield the name of each of the `WAYS`, with the responses (sample, element, unit...)."""
        others = (block.probe(probe.name) for probe in self.reads[1:])
        yield from zip(WAYS, (block.orbits(), *others), strict=True)


@dataclass(frozen=True)
class ResponseCurves(_OfWays):
    """‖f(x') − f(x)‖² per element for the transformed input, noise, and a step toward another sample.

    Columns, float64: `WAYS` (sample, element); "apart" (sample,) ‖f(x) − f(z)‖² of the sample and its
    partner, NaN without a partner; "radius" (sample, element) ‖x' − x‖, if the engine has measured it.
    """

    measures_inputs = True

    def rows(self, block: Block) -> Columns:
        """Return squared distances per sample of the block."""
        rest = block.rest().flatten(1).double()
        found: dict[str, Tensor | np.ndarray] = {
            name: squared_distances(values.flatten(2), rest) for name, values in self.ways(block)
        }
        found["apart"] = block.if_paired((block.of_partners(rest) - rest).square().sum(1))
        if block.distances is not None:
            found["radius"] = block.distances[:, : block.elements]
        return found


@dataclass(frozen=True)
class PredictionCurves(_OfWays):
    """Predictions for the inputs of `WAYS`; no columns if the outputs are not class scores.

    Columns (sample, element), named by `predictions` and suffixed with one of `WAYS`.
    """

    def rows(self, block: Block) -> Columns:
        """Return whether predictions are correct and flipped, as 0 or 1, and probabilities."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            return {}
        each = ((way, predictions(block, outputs)) for way, outputs in self.ways(block))
        return {f"{name}.{way}": part for way, found in each for name, part in found.items()}


# Suffixes of the outputs of each direction; those of the transformation have none.
SUFFIXES = dict(zip(WAYS, ("", "_noise", "_toward"), strict=True))
_BY = {"": "by the transformation", "_noise": "by noise", "_toward": "toward another sample"}
_FLIPPED = 0.5


@dataclass(frozen=True)
class _Curves(Measure):
    """Base class of the curves of layers and of the output."""

    def outputs(self) -> dict[str, Output]:
        """Describe the displacements, absolute and per squared radius, none of which has a floor."""
        titles = {
            "D": "displacement by the transformation",
            "G": "displacement by noise",
            "G_toward": "displacement toward another sample",
            "R": "displacement relative to noise",
            "G_over_r2": "displacement by noise over r²",
            "G_toward_over_r2": "displacement toward another sample over r²",
            "gain": "displacement by faint noise over r²",
        }
        return {
            name: Output(title, floor=False, of_partners="_toward" in name) for name, title in titles.items()
        }

    def statistics(self) -> tuple[Statistic, ...]:
        """Return displacements per sample and element, and distances between samples."""
        return ResponseCurves(), SampleSpread()

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return curves against the radius if it is known, otherwise against the elements."""
        table, spread = finals[-2:]
        return _placed(_curves(table, spread), table, layer)

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute D, G and R pair by pair.

        The elements are followed by noise and by steps toward another sample. The target and length of those
        steps cannot be inferred from the responses.
        """
        n, columns = activations.shape[:2]
        flat = activations.reshape(n, columns, -1)
        rest, moved, noisy = flat[:, 0], *np.split(flat, 3, axis=1)[:2]
        apart = np.mean([np.sum((rest[i] - rest[k]) ** 2) for i in range(n) for k in range(n) if i != k])
        found = {
            name: ((part - rest[:, None]) ** 2).sum(axis=2).mean(axis=0) / apart
            for name, part in (("D", moved), ("G", noisy))
        }
        with np.errstate(divide="ignore", invalid="ignore"):
            return found | {"R": found["D"] / found["G"]}

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples 4 apart, displaced by 1 by the second element and by 2 by noise."""
        first = [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 0.0], [4.0, 0.0]]
        second = [[4.0, 0.0], [5.0, 0.0], [4.0, 0.0], [6.0, 0.0], [4.0, 0.0], [0.0, 0.0]]
        answers = {"D": [0, 1 / 16], "G": [0, 4 / 16], "R": [np.nan, 1 / 4]}
        return KnownAnswer.each({}, [first, second], answers)


@dataclass(frozen=True)
class LayerStabilityCurve(_Curves):
    """How strongly each layer responds to increasing displacements, compared with noise of the same size.

    Stability of every layer per element, against the size of the displacement.

    .. math:: D_j = \\frac{\\langle\\|f(t_j x) - f(x)\\|^2\\rangle}{S},
        \\qquad G_j = \\frac{\\langle\\|f(x + \\eta_j) - f(x)\\|^2\\rangle}{S},
        \\qquad R_j = \\frac{D_j}{G_j}, \\qquad S = \\langle\\|f(x) - f(z)\\|^2\\rangle

    with ‖η_ij‖ = ‖t_j x_i − x_i‖, and z another sample.

    Shapes: responses (sample, element, unit...) to one value per element, in `result.curves`, against the
    radius r_j, the root mean square over samples of the displacement of the inputs: an L2 norm over all
    values of an input (pixels and channels), at the scale of the network's input. `G_toward` is the same as G
    for a step of that length toward another sample, normalised by the same pairs of samples, so that it is
    exactly 1 if the steps reach those samples. `G_over_r2` and `G_toward_over_r2` are constant if the layer
    is linear; `gain`, in the table, is `G_over_r2` at the smallest radius. `iv.stability_curve` uses smooth
    deformations of rising temperature as the elements.

    Caveats: each element has its own noise, so neighbouring points of a curve also differ by chance. The
    other sample is the next one to be measured; in a stream sorted by class, it usually has the same class.

    Reading:
        D, G: 1 is as far as another sample. R = D/G: below 1, more stable to the transformation than to
        noise. G over r² is constant as long as the layer is linear; a small R does not imply a small D. gain:
        G over r² at the smallest radius, that is, how strongly the layer amplifies weak noise.

    Source:
        Petrini et al. 2021, arXiv:2105.02468, eq. 2 to 4, and the appendix on the size of the displacement.

    >>> first = [[0.0], [1.0], [0.0], [2.0], [0.0], [4.0]]
    >>> second = [[4.0], [5.0], [4.0], [6.0], [4.0], [0.0]]
    >>> responses = np.array([first, second])
    >>> {name: curve.tolist() for name, curve in LayerStabilityCurve().oracle(responses, None).items()}
    {'D': [0.0, 0.0625], 'G': [0.0, 0.25], 'R': [nan, 0.25]}
    """


@dataclass(frozen=True)
class StabilityCurve(_Curves):
    """How strongly the output responds to displacements of increasing size, and when its predictions change.

    Stability and predictions of the output per element, against the size of the displacement.

    .. math:: D_j, G_j, R_j \\text{ of the output as for layers}, \\qquad
        \\mathrm{flips}_j = \\langle [\\arg\\max_k f_k(x'_{ij}) \\ne \\arg\\max_k f_k(x_i)] \\rangle_i

    Shapes: outputs (sample, element, class) to one value per element, as in :class:`LayerStabilityCurve`, and
    accuracy, probability of the true class (softmax) and share of flipped predictions: under the
    transformation, under noise (`_noise`) and toward another sample (`_toward`). The table contains the
    *bump* of each of the three: the radius at which half of the predictions have flipped, interpolated
    between elements on a logarithmic scale; NaN if they never do.

    Caveats: those of :class:`LayerStabilityCurve`. Accuracy can also stay constant while predictions flip
    between two wrong classes.

    Reading:
        D, G: 1 is as far as another sample. R = D/G: below 1, more stable to the transformation than to
        noise, which does not mean that D is small. When predictions flip, G over r² leaves its plateau. bump:
        the radius at which half of the predictions have flipped, by the transformation, by noise, or toward
        another sample; no value if they never do. gain: G over r² at the smallest radius.

    Raises:
        ValueError: labels for which the model has no output.

    Source:
        Petrini et al. 2021, arXiv:2105.02468, eq. 2 to 4, and the appendix on the size of the displacement.

    >>> rest, moved, noisy, other = [2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0]
    >>> first = [rest, moved, rest, noisy, rest, other]
    >>> outputs = np.array([first, [other, moved, other, noisy, other, rest]])
    >>> StabilityCurve().oracle(outputs, np.array([0, 1]))["accuracy"]
    array([1. , 0.5])
    """

    scope: ClassVar[str] = "output"

    @property
    def compares_labels(self) -> bool:
        """True: the accuracy needs labels, flips do not."""
        return True

    def outputs(self) -> dict[str, Output]:
        """Describe the outputs of layers, accuracy, probability, flips, and the radius where half flip."""
        found = super().outputs()
        for suffix in SUFFIXES.values():
            rest: Any = {"floor": False, "of_partners": suffix == "_toward"}
            found |= {f"{share}{suffix}": Output(f"{share} {_BY[suffix]}", SHARE, **rest) for share in ROWS}
            found[f"bump{suffix}"] = Output(f"radius at which half flip {_BY[suffix]}", **rest)
        return found

    def statistics(self) -> tuple[Statistic, ...]:
        """Return the statistics of the layers and of the predictions."""
        return PredictionCurves(), *super().statistics()

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return the values of layers, and accuracy, probability, flips, and the radius where half flip."""
        predictions, table, spread = finals
        shares = {
            f"{name.partition('.')[0]}{SUFFIXES[name.partition('.')[2]]}": predictions.means(name)
            for name in predictions.columns
        }
        found = _placed(_curves(table, spread) | shares, table, layer)
        if "radius" not in table.columns:
            return found
        radius = _radius(table)
        flips = {s: shares[f"flips{s}"] for s in SUFFIXES.values() if f"flips{s}" in shares}
        return {f"bump{s}": _bump(radius, share, s) for s, share in flips.items()} | found

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute D, G and R, and predictions; the last third of the columns is toward another sample."""
        found = super().oracle(activations, labels)
        for suffix, outputs in zip(SUFFIXES.values(), np.split(activations, 3, axis=1), strict=True):
            top = outputs.argmax(-1)
            found[f"flips{suffix}"] = (top != activations[:, :1].argmax(-1)).mean(0)
            if labels is not None:
                chances = special.softmax(outputs, axis=-1)
                found[f"accuracy{suffix}"] = (top == labels[:, None]).mean(0)
                found[f"probability{suffix}"] = chances[np.arange(len(labels)), :, labels].mean(0)
        return found


def _curves(table: SampleTable, spread: Spread) -> dict[str, np.ndarray]:
    """Return (replicate, element) curves by output name."""
    above = {name: table.means(name) for name in WAYS}
    apart, pairs = spread.distance()[:, None], table.replicates(lambda part: _known_mean(part["apart"]))
    found = {
        "D": quotient(above["moved"], apart),
        "G": quotient(above["noisy"], apart),
        "G_toward": quotient(_toward(table), pairs[:, None]),
        "R": quotient(above["moved"], above["noisy"]),
    }
    if "radius" in table.columns:
        squares = np.square(_radius(table))
        found |= {f"{name}_over_r2": quotient(found[name], squares) for name in ("G", "G_toward")}
    return found


def _placed(curves: dict[str, np.ndarray], table: SampleTable, layer: LayerContext) -> dict[str, Values]:
    """Return the curves as values, against the radius if it is known."""
    if "radius" not in table.columns:
        return {name: _along_elements(name, curve, layer) for name, curve in curves.items()}
    x = tuple(_radius(table)[0].tolist())
    labels = tuple(f"r = {radius:.3g}" for radius in x)
    smallest = int(np.argmin(np.where(np.array(x) > 0, x, np.inf)))
    found: dict[str, Values] = {"gain": LayerValues(curves["G_over_r2"][:, smallest])}
    return found | {name: CurveValues(curve, "radius", x, labels) for name, curve in curves.items()}


def _along_elements(name: str, curve: np.ndarray, layer: LayerContext) -> ElementValues:
    """Return a curve over elements; displacements and flips are 0 at the identity, accuracies are not."""
    right = name.startswith(("accuracy", "probability"))
    return ElementValues(curve, counted=None if right else layer.moved(curve.shape[1]))


def _toward(table: SampleTable) -> np.ndarray:
    """Return the (replicate, element) mean over the samples that have a partner."""
    return table.replicates(lambda part: _known_mean(part["toward"][np.isfinite(part["apart"])]))


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over samples, ignoring NaN; NaN if all are NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an empty mean is NaN, as intended
        return np.nanmean(values, axis=0)


def _radius(table: SampleTable) -> np.ndarray:
    """Return the (replicate, element) root mean square distance of transformed inputs from their samples."""
    return table.replicates(lambda part: np.sqrt(np.square(part["radius"]).mean(axis=0)))


def _bump(radius: np.ndarray, flips: np.ndarray, suffix: str) -> LayerValues:
    """Return the radius at which half of the predictions have flipped, with a note if they never do."""
    found = np.array([_crossing(*pair) for pair in zip(radius, flips, strict=True)])
    most, largest = f"at most {flips[0].max():.0%}", f"{radius[0].max():.3g}"
    reached = f"{most} of the predictions flip {_BY[suffix]}, up to a radius of {largest}"
    return LayerValues(found, note="" if np.isfinite(found[0]) else reached)


def _crossing(radius: np.ndarray, flips: np.ndarray) -> float:
    """Return where the share first reaches one half, log-linearly interpolated; NaN if it never does."""
    order = np.argsort(radius, kind="stable")
    r, share = radius[order], flips[order]
    above = np.flatnonzero(share >= _FLIPPED)
    if not len(above):
        return float("nan")
    k = int(above[0])
    if k == 0 or not r[k - 1] > 0:
        return float(r[k])
    part = (_FLIPPED - share[k - 1]) / (share[k] - share[k - 1])
    return float(r[k - 1] * (r[k] / r[k - 1]) ** part)
