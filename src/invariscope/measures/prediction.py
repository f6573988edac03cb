"""What the transformation does to a classifier's predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.interval_limits import few, few_events
from invariscope.measures.values import SHARE, ElementValues, LayerContext, Output
from invariscope.statistics.counts.prediction_counts import PredictionCounts

OUTPUTS = ("accuracy", "probability_true", "flips")
# What happens to the samples that a share counts, and to the others.
_EVENTS = {
    "accuracy": ("predictions are right", "predictions are wrong"),
    "flips": ("predictions change", "predictions stay"),
}


@dataclass(frozen=True)
class Prediction(Measure):
    """What the transformation does to the predictions: accuracy, probability, flips.

    Accuracy, probability of the true class, and flip rate, for each element.

    .. math:: \\mathrm{accuracy}_j = \\langle [\\arg\\max_k f_k(t_j x_i) = y_i] \\rangle_i, \\quad
        \\hat p_j = \\langle \\mathrm{softmax}(f(t_j x_i))_{y_i} \\rangle_i, \\quad
        \\mathrm{flips}_j = \\langle [\\arg\\max_k f_k(t_j x_i) \\ne \\arg\\max_k f_k(x_i)] \\rangle_i

    Shapes: outputs (sample, element, class) to one value per element, a share between 0 and 1, in
    `result.curves`. The table holds their means over elements: of accuracy and probability over all of
    them, of flips over those other than the identity, at which nothing can flip. Accuracy and probability
    need labels; flips need none. Outputs that are probabilities already are taken as they are, others
    go through a softmax (log-probabilities are unchanged by it).

    A flat accuracy curve is not an invariant network: the layers before the last may move as they
    like, and predictions can flip between two wrong classes without any change of accuracy.

    Reading:
        Shares between 0 and 1 per element. Accuracy and the true class's probability: 1 is best, and a drop
        at an element is what that element costs. Flips: 0, no prediction changes. Flat curves are a
        property of the output only; inner layers may still vary.

    Raises:
        ValueError: outputs that are no class scores, or labels that do not fit them.

    Source:
        The accuracy-against-angle figure of Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9.

    >>> Prediction().oracle(np.array([[[2.0, 0.0], [0.0, 1.0]]]), np.array([0]))["accuracy"]
    array([1., 0.])
    """

    scope: ClassVar[str] = "output"

    def outputs(self) -> dict[str, Output]:
        """Three shares by element."""
        return {
            "accuracy": Output("accuracy", SHARE, ideal=1.0),
            "probability_true": Output("probability of the true class", SHARE, ideal=1.0),
            "flips": Output("flipped predictions", SHARE),
        }

    def statistics(self) -> tuple[PredictionCounts]:
        """Counts per element."""
        return (PredictionCounts(),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, ElementValues]:
        """One curve per output; those that need labels are left out without them."""
        (found,) = finals
        samples = int(found.samples[0])
        moved = layer.moved(found.shares.shape[2])
        counted = {"flips": moved}
        curves = {
            name: self._curve(name, found.shares[:, row], samples, counted.get(name, np.ones_like(moved)))
            for row, name in enumerate(OUTPUTS)
        }
        return {name: curve for name, curve in curves.items() if np.isfinite(curve.values[0]).any()}

    @staticmethod
    def _curve(name: str, shares: np.ndarray, samples: int, counted: np.ndarray) -> ElementValues:
        """An element with (nearly) no mistake, or no hit, has a share without an interval."""
        if name not in _EVENTS or not np.isfinite(shares[0]).all() or not counted.any():
            return ElementValues(shares, counted=counted)
        happened = np.rint(shares[0] * samples).astype(int)
        often, seldom = int(happened[counted].max()), int(samples - happened[counted].min())
        yes, no = _EVENTS[name]
        uncovered = few_events(often, samples, yes) or few_events(seldom, samples, no)
        return ElementValues(shares, uncovered, few(happened, samples), counted)

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """The definition; element 0 stands for the untransformed input."""
        top = activations.argmax(-1)
        found = {"flips": (top != top[:, :1]).mean(0)}
        if labels is not None:
            powers = np.exp(activations - activations.max(-1, keepdims=True))
            chances = powers / powers.sum(-1, keepdims=True)
            found["accuracy"] = (top == labels[:, None]).mean(0)
            found["probability_true"] = chances[np.arange(len(labels)), :, labels].mean(0)
        return found

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Two samples of class 0; the second element turns one of them to class 1."""
        outputs = np.log([[[0.75, 0.25], [0.25, 0.75]], [[0.75, 0.25], [0.75, 0.25]]])
        answers = {"accuracy": [1.0, 0.5], "probability_true": [0.75, 0.5], "flips": [0.0, 0.5]}
        return KnownAnswer.each({}, outputs, answers, labels=[0, 0])
