"""Worst element: the element that changes a representation most, and the largest changes of samples."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from invariscope.actions.feature_actions import TrivialAction
from invariscope.intervals import Reason
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.interval_limits import EXTREME, PLACE
from invariscope.measures.relative_errors import relative
from invariscope.measures.values import ElementValues, LayerContext, LayerValues, Output, Values
from invariscope.statistics.discrepancy import Discrepancy
from invariscope.statistics.kept.sample_table import SampleTable
from invariscope.statistics.rounding import ratio

_TAIL = 0.95
# Largest average excess, in standard errors, at which a maximum of means still has an interval.
_MOST_EXCESS = 1.2
_FEW = "no interval: too few samples are in a tail to estimate its uncertainty from eight groups"


@dataclass(frozen=True)
class WorstElement(Measure):
    """Which transformation changes a representation most, and by how much.

    Largest discrepancy from the untransformed response among the elements, on average and in the tails.

    .. math:: W = \\max_j \\frac{\\langle\\|a(t_j x_i) - a(x_i)\\|\\rangle_i}
                         {\\langle\\|a(x_i)\\|\\rangle_i}, \\qquad
        d_{ij} = \\frac{\\|a(t_j x_i) - a(x_i)\\|}{\\|a(x_i)\\|}, \\qquad
        \\mathrm{tail} = Q_{0.95, i}(\\max_j d_{ij}), \\qquad
        \\mathrm{largest} = \\max_{ij} d_{ij}

    Shapes: activations (sample, element, unit...) to these numbers per layer: W; `element`, the position of
    the element that attains it (its label is in `result.curves`); `tail`, the discrepancy that the worst
    twentieth of the samples exceed under their worst element (linearly interpolated quantile); `largest`.
    Curves: `by_element`, the ratios of means, the largest of which is W; `tail_by_element`, the 95 % quantile
    of d; `largest_by_element`. For samples with a zero untransformed response, d is undefined: the tails
    leave them out and count them (`undefined`). The null of W takes a(x) from another sample.

    W is a ratio of means, because d is huge for samples that barely respond, and a few of them would dominate
    a mean of d.

    Caveats: W is a maximum of estimates: with few samples, noise selects the element and W is too large. If
    chance decides between many elements that are about equally bad, W has no interval, and a note says so.
    `largest` grows with the number of samples and has no interval; `element` and `tail` have none either.
    Only the listed elements are searched; `iv.worst_element` also searches between them.

    Reading:
        Distances relative to the norm of the untransformed responses: 0 is invariant, 1 is as far as the
        origin. Compare with the null, the distance from another sample. Means hide tails. `tail` and
        `largest` show them, but `largest` grows with the number of samples.

    Source:
        Worst-case transformations of Engstrom et al. 2019, arXiv:1712.02779, applied to representations.

    >>> responses = np.array([[[2.0], [3.0], [4.0]], [[1.0], [1.0], [3.0]]])
    >>> {k: v.tolist() for k, v in WorstElement().oracle(responses, None).items() if k in ("", "element")}
    {'': 1.3333333333333333, 'element': 2.0}
    """

    def outputs(self) -> dict[str, Output]:
        """Describe the worst element, the tails, and the curves."""
        return {
            "": Output("largest mean distance"),
            "element": Output("worst element", kind="position", interval=False, floor=False),
            "tail": Output("95 % quantile of the distances"),
            "largest": Output("largest distance", interval=False),
            "by_element": Output("mean distance by element"),
            "tail_by_element": Output("95 % quantile by element"),
            "largest_by_element": Output("largest distance by element", interval=False),
        }

    def statistics(self) -> tuple[Discrepancy]:
        """Return the distances per sample and element."""
        return (Discrepancy(TrivialAction()),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return the worst ratio of means with its element, the tails, and the curves."""
        (table,) = finals
        undefined = int(np.isnan(_distances(table)).sum())
        ratios = table.replicates(lambda part: _ratios(part["gap"], part["size"]))
        moved = layer.moved(ratios.shape[1])
        place = float("nan") if np.isnan(ratios[0]).all() else float(np.nanargmax(ratios[0]))
        tail = table.replicates(lambda part: _tails(_defined(part).max(axis=1)))
        tails = table.replicates(lambda part: _tails(_defined(part)))
        largest = np.fmax.reduce(_defined(table), axis=0, initial=np.nan)
        return {
            "": LayerValues(
                np.array([_highest(row) for row in ratios]),
                null=_null(table),
                uncovered=chosen_by_chance(ratios),
                reach=reach_of_largest(ratios),
            ),
            "element": LayerValues(np.array([place]), uncovered=PLACE),
            "tail": LayerValues(tail, undefined=undefined, uncovered=_FEW),
            "largest": LayerValues(np.array([largest.max()]), undefined=undefined, uncovered=EXTREME),
            "by_element": ElementValues(ratios, counted=moved),
            "tail_by_element": ElementValues(tails, uncovered=_FEW, counted=moved),
            "largest_by_element": ElementValues(largest[None], uncovered=EXTREME, counted=moved),
        }

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition response by response."""
        rows = []
        for orbit in activations.reshape(*activations.shape[:2], -1):
            size = np.sqrt(np.sum(orbit[0] ** 2))
            if size > 0:
                rows.append([np.sqrt(np.sum((response - orbit[0]) ** 2)) / size for response in orbit])
        flat = activations.reshape(*activations.shape[:2], -1)
        gaps = [[np.linalg.norm(response - orbit[0]) for response in orbit] for orbit in flat]
        means = np.mean(gaps, axis=0) / np.mean([np.linalg.norm(orbit[0]) for orbit in flat])
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
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return norms 2 and 1, and gaps 0, 1, 2 and 0, 0, 2: W is 2 / (3/2), at the last element."""
        responses = [[[2.0], [3.0], [4.0]], [[1.0], [1.0], [3.0]]]
        answers = {
            "": 4 / 3,
            "element": 2.0,
            "tail": 1.95,
            "largest": 2.0,
            "by_element": [0.0, 1 / 3, 4 / 3],
            "tail_by_element": [0.0, 0.475, 1.95],
            "largest_by_element": [0.0, 0.5, 2.0],
        }
        return KnownAnswer.each({}, responses, answers)


def _distances(part: SampleTable) -> np.ndarray:
    """Return (sample, element) d; NaN rather than infinite for samples without a response."""
    return relative(part, over_zero=np.nan)


def _defined(part: SampleTable) -> np.ndarray:
    """Return the (sample, element) rows without undefined values."""
    distances = _distances(part)
    return distances[np.isfinite(distances).all(axis=1)]


def _ratios(gaps: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return (element,) mean gap / mean norm; if all norms are 0, infinity, or NaN if all gaps are 0 too."""
    return ratio(gaps.sum(axis=0), sizes[:, 0].sum())


def _highest(ratios: np.ndarray) -> float:
    """Return the largest ratio that is not NaN; NaN if there is none."""
    return float("nan") if np.isnan(ratios).all() else float(np.nanmax(ratios))


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return (group, ...) scaled deviations of the replicates; their norm is the standard error."""
    omitted = values[1:]
    return np.sqrt(1 - 1 / len(omitted)) * (omitted - omitted.mean(axis=0))


def reach_of_largest(ratios: np.ndarray) -> float:
    """Return the factor, at least 1, that widens the interval of the largest of (replicate, element) means.

    If several elements are about equally bad, the largest varies less between replicates than between sets of
    samples. In that case, the factor makes its interval as wide as that of the element that is worst over all
    samples together.
    """
    if len(ratios) < 3 or not np.isfinite(ratios).all():
        return 1.0
    largest, chosen = (
        np.linalg.norm(_scaled(values)) for values in (ratios.max(axis=1), ratios[:, ratios[0].argmax()])
    )
    return float(max(1.0, chosen / largest)) if largest > 0 else 1.0


def chosen_by_chance(ratios: np.ndarray) -> str:
    r"""Explain why the largest of (replicate, element) means has no interval; "" if it has one.

    An element is a rival of the worst one if their means differ by at most two standard errors of the
    difference. If all rivals were equally bad in the population, the largest mean would be too large by

    .. math:: b = \Bigl\langle \max_{j\ \text{rival}} \sum_g \epsilon_g q_{gj} \Bigr\rangle_{\epsilon = \pm 1}

    on average, with q the deviations of the leave-one-group-out values, scaled to the standard error. If b
    exceeds 1.2 standard errors of the worst element, the bias is too large for an interval.

    >>> ratios = np.zeros((9, 20))
    >>> ratios[1:] = np.random.default_rng(0).normal(size=(8, 20))
    >>> chosen_by_chance(ratios)
    'no interval yet: chance decides which of 20 elements is the worst'
    >>> ratios[:, 3] += 100.0
    >>> chosen_by_chance(ratios)
    ''
    """
    if len(ratios) < 3 or not np.isfinite(ratios).all():
        return ""
    scaled, worst = _scaled(ratios), int(ratios[0].argmax())
    apart = np.linalg.norm(scaled - scaled[:, [worst]], axis=0)
    rivals = scaled[:, ratios[0, worst] - ratios[0] <= 2 * apart]
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(scaled))))
    excess = (signs @ rivals).max(axis=1).mean()
    if excess <= _MOST_EXCESS * np.linalg.norm(scaled[:, worst]):
        return ""
    return Reason.few_decide(f"chance decides which of {rivals.shape[1]} elements is the worst")


def _null(table: SampleTable) -> float:
    """Return W with the untransformed response of another sample; NaN if no sample has a partner."""
    paired = (table["null_count"] > 0).all(axis=1)
    return _highest(_ratios(table["null_gap"][paired], table["size"][paired]))


def _tails(distances: np.ndarray) -> np.ndarray:
    """Return the 95 % quantile over samples; NaN without samples."""
    return np.quantile(distances, _TAIL, axis=0) if len(distances) else np.full(distances.shape[1:], np.nan)


def _naive_quantile(values: Any) -> float:
    """Interpolate linearly between the two neighbouring values."""
    ordered = sorted(values)
    place = _TAIL * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
