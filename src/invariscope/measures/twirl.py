"""Twirl: the part of the loss that averaging the outputs over the orbit would remove."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import special
from torch import Tensor
from torch.nn import functional

from invariscope.block import Block, NotApplicableError
from invariscope.common.checks import refuse_other
from invariscope.measures.base import KnownAnswer, SampleMeasure
from invariscope.measures.values import SHARE, LayerContext, LayerValues, Output
from invariscope.statistics.class_labels import labels_among, predicted_numbers
from invariscope.statistics.counts.prediction_counts import probabilities
from invariscope.statistics.kept.sample_table import Columns
from invariscope.statistics.rounding import quotient

TARGETS = ("classes", "values")


@dataclass(frozen=True, kw_only=True)
class Twirl(SampleMeasure):
    """Share of the squared loss that averaging over the orbit would remove.

    .. math:: \\underbrace{E\\|f - y\\|^2}_{\\mathrm{loss}} =
        \\underbrace{E\\|\\bar f - y\\|^2}_{\\mathrm{twirled}} +
        \\underbrace{E\\|f - \\bar f\\|^2}_{\\mathrm{symmetry}}, \\qquad
        \\bar f(x) = \\langle f(t_j x) \\rangle_j, \\qquad
        \\mathrm{share} = \\frac{\\mathrm{symmetry}}{\\mathrm{loss}}

    E is the mean over samples and elements; the label is the same along an orbit.

    Shapes: outputs (sample, element, class) and labels (sample,) to four numbers for the model's output: the
    share (the row named after the measure) and the three terms. f is the softmax of the outputs and y the
    one-hot label, so that the loss is the Brier score; or f and y are numbers. The null of `symmetry` takes
    f̄ from another sample: outputs that are all alike have a small symmetry error and a small null.

    Caveats: the decomposition is exact for the listed elements. If they are drawn from a larger set, f̄ is a
    mean of m of them and absorbs 1/m of the symmetry error. A small share can be due to a large loss rather
    than a small symmetry error. The transformation must preserve the label, or averaging does not help.

    Reading:
        0: outputs do not change along an orbit. 1: the mean output over the orbit has no error. `symmetry` is
        the error itself; a small share may only mean a large loss.

    Args:
        targets: "classes", for class labels and softmax outputs, or "values", for labels that are numbers
            to be predicted by a single output.

    Raises:
        ValueError: missing labels, labels that do not match the outputs, or unknown targets.

    Source:
        The orthogonal projection onto invariant functions: Elesedy and Zaidi 2021, arXiv:2102.10333.

    >>> outputs = np.array([[[1.0], [3.0]]])  # their mean is 2, the target 4
    >>> {k: float(v) for k, v in Twirl(targets="values").oracle(outputs, np.array([4.0])).items()}
    {'': 0.2, 'loss': 5.0, 'twirled': 4.0, 'symmetry': 1.0}
    """

    fewest_elements: ClassVar[int] = 2

    targets: str = "classes"

    scope: ClassVar[str] = "output"
    needs_labels: ClassVar[bool] = True
    paired = True

    def __post_init__(self) -> None:
        refuse_other(self, targets=TARGETS)

    @property
    def predicts_numbers(self) -> bool:
        """True for targets="values"."""
        return self.targets == "values"

    def outputs(self) -> dict[str, Output]:
        """Describe the share, and the three terms."""
        return {
            "": Output("share of the loss due to asymmetry", SHARE),
            "loss": Output("squared loss"),
            "twirled": Output("squared loss of the orbit's mean"),
            "symmetry": Output("squared distance from the orbit's mean"),
        }

    def rows(self, block: Block) -> Columns:
        """Return the three terms and "null", the symmetry error from the partner's f̄, each (sample,)."""
        if block.labels is None:
            raise NotApplicableError("a loss needs labels: give data as (inputs, labels)")
        found = block.orbits().double().flatten(2)
        found, wanted = _classes(found, block) if self.targets == "classes" else _values(found, block)
        mean = found.mean(1)
        null = (found - block.of_partners(mean)[:, None]).square().sum(2).mean(1)
        return {
            "null": block.if_paired(null),
            "loss": (found - wanted[:, None]).square().sum(2).mean(1),
            "twirled": (mean - wanted).square().sum(1),
            "symmetry": (found - mean[:, None]).square().sum(2).mean(1),
        }

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, LayerValues]:
        """Return the share, and the three terms."""
        (table,) = finals
        terms = ("loss", "twirled", "symmetry")
        known = table["null"][np.isfinite(table["null"])]
        nulls = {"symmetry": float(known.mean())} if known.size else {}
        parts = {name: LayerValues(table.means(name), nulls.get(name, np.nan)) for name in terms}
        share = table.replicates(lambda part: quotient(part["symmetry"].sum(), part["loss"].sum()))
        return {"": LayerValues(share)} | parts

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition sample by sample."""
        assert labels is not None
        loss, twirled, symmetry = [], [], []
        for orbit, label in zip(activations.reshape(*activations.shape[:2], -1), labels, strict=True):
            wanted = np.atleast_1d(label)
            if self.targets == "classes":
                wanted = np.eye(orbit.shape[1])[label]
                orbit = special.softmax(orbit, axis=1)
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
        """Return an instance with the default targets; other targets need other outputs."""
        return (cls(),)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return numbers 1 and 3 for a target of 4; and one-hot outputs for label 0, half of them wrong."""
        numbers, target = {"targets": "values"}, [4.0, 4.0]
        outputs = [[[1.0], [3.0]], [[1.0], [3.0]]]
        halves = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]]  # mean (1/2, 1/2)
        terms = {"": 0.2, "loss": 5.0, "twirled": 4.0, "symmetry": 1.0}
        return (
            *KnownAnswer.each(numbers, outputs, terms, labels=target),
            *KnownAnswer.each({}, halves, {"": 0.5, "loss": 1.0}, labels=[0, 0]),
        )


def _classes(found: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """Return (sample, element, class) probabilities and (sample, class) one-hot labels."""
    if found.shape[2] < 2:
        raise NotApplicableError(
            "class labels need one output per class, but the model has a single output; "
            "for numbers to be predicted, use Twirl(targets='values')"
        )
    labels = labels_among(block, found.shape[2])
    assert labels is not None
    return probabilities(found), functional.one_hot(labels.long(), found.shape[2]).double()


def _values(found: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """Return (sample, element, value) outputs and (sample, value) targets."""
    assert block.labels is not None
    labels = predicted_numbers(block.labels, names=block.names, unaligned=block.unaligned)
    wanted = labels.to(found.device)[:, None]
    if wanted.shape[1] != found.shape[2]:
        raise NotApplicableError(
            f"each sample has one number to be predicted, but the model has {found.shape[2]} outputs; "
            "for class labels, use Twirl(targets='classes')"
        )
    return found, wanted
