"""The element that moves a representation the most, and the tails behind the mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.measures.base import (
    ElementValues,
    Identity,
    KnownAnswer,
    LayerContext,
    LayerValues,
    Measure,
    Values,
)
from invariscope.statistics.relative_distances import RelativeDistances
from invariscope.statistics.sample_table import SampleTable

_TAIL = 0.95
_FEW = "no interval: too few samples lie in a tail, and eight groups of them do not tell how sure it is"


@dataclass(frozen=True)
class WorstElement(Measure):
    """The largest discrepancy from the untransformed response, over elements, on average and in the tails.

    .. math:: d_{ij} = \\frac{\\|a(t_j x_i) - a(x_i)\\|}{\\|a(x_i)\\|}, \\qquad
        W = \\max_j \\langle d_{ij} \\rangle_i, \\qquad
        \\mathrm{tail} = Q_{0.95, i}(\\max_j d_{ij}), \\qquad
        \\mathrm{largest} = \\max_{ij} d_{ij}

    Shapes: activations (sample, element, unit...) to one number of each kind a layer: W; `element`, the
    position of the element that has it (its label stands in `result.curves`); `tail`, what the worst
    element does to the worst twentieth of the samples (linearly interpolated quantile); `largest`. Curves:
    `by_element`, the mean over samples; `tail_by_element`, their 95 % quantile; `largest_by_element`.
    Samples whose untransformed response is zero have no distance: left out and counted (`undefined`). The
    null of W takes a(x) from another sample, over whose norm distances are then.

    Misleads: W is a maximum of estimates: with few samples noise picks the element, and W is too large.
    `largest` grows with the number of samples and has no interval; nor have `element` and `tail`. Only the
    listed elements are searched; `iv.worst_element` looks between them too.

    Source:
        The worst-case transformation of Engstrom et al. 2019, arXiv:1712.02779, applied to representations.

    >>> responses = np.array([[[2.0], [3.0], [4.0]], [[1.0], [1.0], [3.0]]])
    >>> {k: v.tolist() for k, v in WorstElement().oracle(responses, None).items() if k in ("", "element")}
    {'': 1.5, 'element': 2.0}
    """

    single: ClassVar[frozenset[str]] = frozenset({"element", "largest", "largest_by_element"})
    unaveraged: ClassVar[frozenset[str]] = frozenset({"element"})
    summary: ClassVar[str] = "Which transformation moves a representation the most, and how far at worst."
    reading: ClassVar[str] = (
        "Distances in units of the untransformed response's norm: 0 is invariant, 1 as far as to the origin. "
        "Compare with the null, the distance from another sample. Means hide tails: `tail` and `largest` do "
        "not, but `largest` grows with the number of samples."
    )

    @property
    def probes(self) -> tuple[Identity]:
        """The untransformed input."""
        return (Identity(),)

    def statistics(self) -> tuple[RelativeDistances]:
        """The distances of every sample and element."""
        return (RelativeDistances(),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """The worst mean with its element, the tails, and the curves."""
        (table,) = finals
        undefined = int(np.isnan(table["distance"]).sum())
        null = float(_means(table["null"]).max())
        means = table.replicates(lambda part: _means(part["distance"]))
        place = float(means[0].argmax()) if np.isfinite(means[0]).all() else float("nan")
        return {
            "": LayerValues(means.max(axis=1), null, undefined),
            "element": LayerValues(np.array([place]), undefined=undefined),
            "tail": LayerValues(table.replicates(_tail), undefined=undefined, uncovered=_FEW),
            "largest": LayerValues(np.array([_largest(table)]), undefined=undefined),
            "by_element": ElementValues(means),
            "tail_by_element": ElementValues(table.replicates(_tails), uncovered=_FEW),
            "largest_by_element": ElementValues(_maxima(table)[None]),
        }

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """The definition, response by response."""
        rows = []
        for orbit in activations.reshape(*activations.shape[:2], -1):
            size = np.sqrt(np.sum(orbit[0] ** 2))
            if size > 0:
                rows.append([np.sqrt(np.sum((response - orbit[0]) ** 2)) / size for response in orbit])
        means = np.mean(rows, axis=0)
        return {
            "": means.max(),
            "element": np.array(float(np.argmax(means))),
            "tail": np.array(_naive_quantile([max(row) for row in rows])),
            "largest": np.array(np.max(rows)),
            "by_element": means,
            "tail_by_element": np.array([_naive_quantile(column) for column in zip(*rows, strict=True)]),
            "largest_by_element": np.array([max(column) for column in zip(*rows, strict=True)]),
        }

    @classmethod
    def examples(cls) -> tuple[WorstElement, ...]:
        """There are no options."""
        return (cls(),)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Distances 0, 1/2, 1 and 0, 0, 2: the last element is worst, 3/2 on average."""
        responses = [[[2.0], [3.0], [4.0]], [[1.0], [1.0], [3.0]]]
        return (
            KnownAnswer({}, responses, 1.5),
            KnownAnswer({}, responses, 2.0, output="element"),
            KnownAnswer({}, responses, 1.95, output="tail"),
            KnownAnswer({}, responses, 2.0, output="largest"),
            KnownAnswer({}, responses, [0.0, 0.25, 1.5], output="by_element"),
            KnownAnswer({}, responses, [0.0, 0.475, 1.95], output="tail_by_element"),
            KnownAnswer({}, responses, [0.0, 0.5, 2.0], output="largest_by_element"),
        )


def _defined(distances: np.ndarray) -> np.ndarray:
    """(sample, element) rows that have a value."""
    return distances[np.isfinite(distances).all(axis=1)]


def _means(distances: np.ndarray) -> np.ndarray:
    """(element,) mean over the samples that have a value; NaN where none has."""
    rows = _defined(distances)
    return rows.mean(axis=0) if len(rows) else np.full(distances.shape[1], np.nan)


def _worst(part: SampleTable) -> np.ndarray:
    """(sample,) largest distance of each sample that has one."""
    return _defined(part["distance"]).max(axis=1)


def _largest(part: SampleTable) -> float:
    worst = _worst(part)
    return float(worst.max()) if len(worst) else float("nan")


def _tail(part: SampleTable) -> float:
    worst = _worst(part)
    return float(np.quantile(worst, _TAIL)) if len(worst) else float("nan")


def _tails(part: SampleTable) -> np.ndarray:
    rows = _defined(part["distance"])
    return np.quantile(rows, _TAIL, axis=0) if len(rows) else np.full(part["distance"].shape[1], np.nan)


def _maxima(part: SampleTable) -> np.ndarray:
    rows = _defined(part["distance"])
    return rows.max(axis=0) if len(rows) else np.full(part["distance"].shape[1], np.nan)


def _naive_quantile(values: Any) -> float:
    """Linear interpolation between the two values around the place."""
    ordered = sorted(values)
    place = _TAIL * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
