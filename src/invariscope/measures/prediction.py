"""Accuracy, probabilities and flips of a classifier under the transformation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from scipy import special

from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.interval_limits import few, few_events
from invariscope.measures.values import SHARE, ElementValues, LayerContext, Output
from invariscope.statistics.counts.prediction_counts import PredictionCounts

OUTPUTS = ("accuracy", "probability_true", "flips")
# The event that a share counts, and its opposite.
_EVENTS = {
    "accuracy": ("predictions are right", "predictions are wrong"),
    "flips": ("predictions change", "predictions stay"),
}


@dataclass(frozen=True)
class Prediction(Measure):
    """How the transformation affects predictions: accuracy, probability, flips.

    Accuracy, probability of the true class, and flip rate per element.

    .. math:: \\mathrm{accuracy}_j = \\langle [\\arg\\max_k f_k(t_j x_i) = y_i] \\rangle_i, \\quad
        \\hat p_j = \\langle \\mathrm{softmax}(f(t_j x_i))_{y_i} \\rangle_i, \\quad
        \\mathrm{flips}_j = \\langle [\\arg\\max_k f_k(t_j x_i) \\ne \\arg\\max_k f_k(x_i)] \\rangle_i

    Shapes: outputs (sample, element, class) to one value between 0 and 1 per element, in `result.curves`.
    The table contains means over elements: all of them for accuracy and probability, all but the identity
    for flips. Accuracy and probability need labels, and if these are words, `classes=`; flips do not.
    Outputs that already are probabilities are used directly; others pass through a softmax, which leaves
    log-probabilities unchanged.

    Caveats: a flat accuracy curve does not mean an invariant network. Earlier layers may change, and
    predictions can flip between two wrong classes without a change of accuracy. The null of the flips, the
    share of unrelated samples with different predictions, is given only where it is 0: if all samples get the
    same class. Nothing can flip then, and a caution says that insensitivity explains the value.

    Reading:
        Shares between 0 and 1 per element. Accuracy and the true class's probability: 1 is best, and a drop
        at an element is the cost of that element. Flips: 0 means that no prediction changes. Flat curves
        describe the output only; inner layers may still vary.

    Raises:
        ValueError: outputs that are not class scores, or labels that do not match them.

    Source:
        The accuracy-against-angle figure of Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9.

    >>> Prediction().oracle(np.array([[[2.0, 0.0], [0.0, 1.0]]]), np.array([0]))["accuracy"]
    array([1., 0.])
    """

    scope: ClassVar[str] = "output"

    @property
    def compares_labels(self) -> bool:
        """True: accuracy and probability need labels, flips do not."""
        return True

    def outputs(self) -> dict[str, Output]:
        """Describe accuracy, probability and flips by element."""
        return {
            "accuracy": Output("accuracy", SHARE, ideal=1.0),
            "probability_true": Output("probability of the true class", SHARE, ideal=1.0),
            "flips": Output("flipped predictions", SHARE),
        }

    def statistics(self) -> tuple[PredictionCounts]:
        """Return counts per element."""
        return (PredictionCounts(),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, ElementValues]:
        """Return one curve per output; without labels, only those that do not need them."""
        (found,) = finals
        samples = int(found.samples[0])
        moved = layer.moved(found.shares.shape[2])
        counted = {"flips": moved}
        curves = {
            name: self._curve(name, found.shares[:, row], samples, counted.get(name, np.ones_like(moved)))
            for row, name in enumerate(OUTPUTS)
        }
        if found.constant:
            curves["flips"] = replace(curves["flips"], null=0.0)
        return {name: curve for name, curve in curves.items() if np.isfinite(curve.values[0]).any()}

    @staticmethod
    def _curve(name: str, shares: np.ndarray, samples: int, counted: np.ndarray) -> ElementValues:
        """Return a curve; elements have no interval if the event, or its opposite, hardly ever occurs."""
        if name not in _EVENTS or not np.isfinite(shares[0]).all() or not counted.any():
            return ElementValues(shares, counted=counted)
        happened = np.rint(shares[0] * samples).astype(int)
        often, seldom = int(happened[counted].max()), int(samples - happened[counted].min())
        yes, no = _EVENTS[name]
        uncovered = few_events(often, samples, yes) or few_events(seldom, samples, no)
        return ElementValues(shares, uncovered, few(happened, samples), counted)

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition; element 0 is the untransformed input."""
        top = activations.argmax(-1)
        found = {"flips": (top != top[:, :1]).mean(0)}
        if labels is not None:
            chances = special.softmax(activations, axis=-1)
            found["accuracy"] = (top == labels[:, None]).mean(0)
            found["probability_true"] = chances[np.arange(len(labels)), :, labels].mean(0)
        return found

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples of class 0; the second element changes one of the predictions to class 1."""
        outputs = np.log([[[0.75, 0.25], [0.25, 0.75]], [[0.75, 0.25], [0.75, 0.25]]])
        answers = {"accuracy": [1.0, 0.5], "probability_true": [0.75, 0.5], "flips": [0.0, 0.5]}
        return KnownAnswer.each({}, outputs, answers, labels=[0, 0])
