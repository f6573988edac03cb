"""How much of the loss would vanish if the outputs were averaged over the orbit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.common.registry import unknown
from invariscope.measures.base import KnownAnswer, LayerContext, LayerValues, Measure
from invariscope.statistics.kept.sample_table import SampleTable
from invariscope.statistics.orbit_losses import OrbitLosses

TARGETS = ("classes", "values")


@dataclass(frozen=True, kw_only=True)
class Twirl(Measure):
    """Share of the squared loss that is a failure of symmetry.

    .. math:: \\underbrace{E\\|f - y\\|^2}_{\\mathrm{loss}} =
        \\underbrace{E\\|\\bar f - y\\|^2}_{\\mathrm{twirled}} +
        \\underbrace{E\\|f - \\bar f\\|^2}_{\\mathrm{symmetry}}, \\qquad
        \\bar f(x) = \\langle f(t_j x) \\rangle_j, \\qquad
        \\mathrm{share} = \\frac{\\mathrm{symmetry}}{\\mathrm{loss}}

    E is the mean over samples and elements; the label is the same along an orbit.

    Shapes: outputs (sample, element, class) and labels (sample,) to four numbers of the model's output: the
    share (the measure's own row) and the three terms. f is the softmax of the outputs and y the one-hot
    label, so that the loss is the Brier score; or f and y are numbers. The null of `symmetry` takes f̄ from
    another sample: outputs that are all alike have a small symmetry error and a small null.

    Misleads: the split is exact for the elements listed. Where they are drawn from a larger set, f̄ is a
    mean of m of them and takes up 1/m of the symmetry error. A small share is not a small symmetry error: a
    large loss makes it small too. The transformation must leave the label right, or averaging is no cure.

    Args:
        targets: "classes", for class labels against softmax outputs, or "values", for labels that are numbers
            to be predicted by a single output.

    Raises:
        ValueError: no labels, labels that do not fit the outputs, or targets that do not exist.

    Source:
        The orthogonal projection onto invariant functions: Elesedy and Zaidi 2021, arXiv:2102.10333.

    >>> outputs = np.array([[[1.0], [3.0]]])  # their mean is 2, the target 4
    >>> {k: float(v) for k, v in Twirl(targets="values").oracle(outputs, np.array([4.0])).items()}
    {'': 0.2, 'loss': 5.0, 'twirled': 4.0, 'symmetry': 1.0}
    """

    targets: str = "classes"

    scope: ClassVar[str] = "output"
    needs_labels: ClassVar[bool] = True
    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"": (0.0, 1.0)}
    summary: ClassVar[str] = "Which share of the squared loss averaging over the orbit would remove."
    reading: ClassVar[str] = (
        "0: outputs do not change along an orbit, or all of the loss has other causes. 1: the mean over the "
        "orbit would make no error. `symmetry` is the error itself; a small share may only mean a large loss."
    )

    def __post_init__(self) -> None:
        if self.targets not in TARGETS:
            raise unknown("targets", str(self.targets), TARGETS)

    @property
    def predicts_numbers(self) -> bool:
        """For the targets "values"."""
        return self.targets == "values"

    def statistics(self) -> tuple[OrbitLosses]:
        """The losses of every sample."""
        return (OrbitLosses(self.targets),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, LayerValues]:
        """The share, and the three terms."""
        (table,) = finals
        terms = ("loss", "twirled", "symmetry")
        known = table["null"][np.isfinite(table["null"])]
        null = float(known.mean()) if known.size else float("nan")
        means = {name: table.replicates(lambda part, n=name: part[n].mean()) for name in terms}
        nulls = {"symmetry": null}
        parts = {name: LayerValues(values, nulls.get(name, np.nan)) for name, values in means.items()}
        return {"": LayerValues(table.replicates(_share))} | parts

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """The definition, sample by sample."""
        assert labels is not None
        loss, twirled, symmetry = [], [], []
        for orbit, label in zip(activations.reshape(*activations.shape[:2], -1), labels, strict=True):
            wanted = np.atleast_1d(label)
            if self.targets == "classes":
                wanted = np.eye(orbit.shape[1])[label]
                orbit = np.exp(orbit) / np.exp(orbit).sum(axis=1, keepdims=True)
            mean = orbit.mean(axis=0)
            loss += [np.sum((row - wanted) ** 2) for row in orbit]
            twirled.append(np.sum((mean - wanted) ** 2))
            symmetry += [np.sum((row - mean) ** 2) for row in orbit]
        terms = {"loss": np.mean(loss), "twirled": np.mean(twirled), "symmetry": np.mean(symmetry)}
        return {"": np.array(terms["symmetry"] / terms["loss"])} | {
            name: np.array(value) for name, value in terms.items()
        }

    @classmethod
    def examples(cls) -> tuple[Twirl, ...]:
        """The default; the other kind of target needs another kind of output."""
        return (cls(),)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Numbers 1 and 3 for a target of 4; certain classes of which half are wrong, for label 0."""
        numbers, target = {"targets": "values"}, [4.0, 4.0]
        outputs = [[[1.0], [3.0]], [[1.0], [3.0]]]
        halves = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]  # mean (1/2, 1/2)
        return (
            KnownAnswer(numbers, outputs, 0.2, labels=target),
            KnownAnswer(numbers, outputs, 5.0, labels=target, output="loss"),
            KnownAnswer(numbers, outputs, 4.0, labels=target, output="twirled"),
            KnownAnswer(numbers, outputs, 1.0, labels=target, output="symmetry"),
            KnownAnswer({}, halves, 0.5, labels=[0, 0]),
            KnownAnswer({}, halves, 1.0, labels=[0, 0], output="loss"),
        )


def _share(part: SampleTable) -> float:
    """Ratio of the sums; nothing where there is no loss."""
    loss = part["loss"].sum()
    return float(part["symmetry"].sum() / loss) if loss > 0 else float("nan")
