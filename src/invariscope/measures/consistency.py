"""Consistency: how often a classifier's prediction stays the same along the orbit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block, NotApplicableError
from invariscope.measures.base import KnownAnswer, SampleMeasure
from invariscope.measures.interval_limits import few, few_events
from invariscope.measures.values import SHARE, ElementValues, LayerContext, LayerValues, Output, Values
from invariscope.statistics.kept.sample_table import Columns, SampleTable
from invariscope.statistics.probes import Untransformed


@dataclass(frozen=True)
class Consistency(SampleMeasure):
    """How often two transformed versions of a sample get the same top-1 class.

    Share of pairs of elements that give a sample the same top-1 class.

    .. math:: \\mathrm{consistency} = \\left\\langle
        [\\hat y(t_j x_i) = \\hat y(t_k x_i)] \\right\\rangle_{i,\\, j \\ne k}, \\qquad
        \\mathrm{untransformed} = \\left\\langle
        [\\hat y(t_j x_i) = \\hat y(x_i)] \\right\\rangle_{i,\\, t_j \\ne 1}

    with ŷ(x) the class of the largest output.

    Shapes: outputs (sample, element, class) to one share over all pairs; `untransformed`, the share of
    elements other than the identity that keep the untransformed prediction; and `by_element`, the latter as a
    curve, in which the identity has a share of 1 but does not enter the mean. The null takes the two
    predictions from different samples.

    Caveats: labels are not used, so a constant prediction is perfectly consistent; compare with the null,
    which is then also 1, and with the accuracy. Among tied classes, the first one counts.

    Reading:
        1: the prediction never changes along an orbit. The null is the chance agreement between different
        samples. Consistency is not accuracy: a constant prediction has a consistency of 1.

    Raises:
        ValueError: outputs that are not scores of at least two classes.

    Source:
        The classification consistency of Zhang 2019, arXiv:1904.11486, over all pairs of elements.

    >>> outputs = np.array([[[2.0, 0.0], [0.0, 1.0], [0.0, 3.0]]])  # classes 0, 1, 1
    >>> Consistency().oracle(outputs, None)["untransformed"]
    array(0.)
    """

    fewest_elements: ClassVar[int] = 2

    scope: ClassVar[str] = "output"
    reads = (Untransformed(),)

    def outputs(self) -> dict[str, Output]:
        """Describe both shares, and the curve by element."""
        return {
            "": Output("agreeing pairs of elements", SHARE, ideal=1.0),
            "untransformed": Output("unchanged predictions", SHARE, ideal=1.0),
            "by_element": Output("unchanged predictions by element", SHARE, ideal=1.0),
        }

    def rows(self, block: Block) -> Columns:
        """Return classes "top" and "rest" (untransformed), the share "agreeing", and the mask "moving"."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            raise NotApplicableError(
                "a top-1 class needs outputs of shape (sample, class) with at least two classes; "
                f"got (sample, {', '.join(map(str, block.values.shape[1:]))})"
            )
        top, rest = block.orbits().argmax(-1), block.probe("identity").argmax(-1)
        moving = np.broadcast_to(block.moving.astype(float), top.shape)
        return {"top": top, "rest": rest, "agreeing": _agreeing(top), "moving": moving}

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return both shares with their nulls, and the curve."""
        (table,) = finals
        pairs, kept = _chance(table)
        same = _same(table)
        moved = same[:, table["moving"][0] > 0]
        few_kept = _too_few(~np.all(moved, axis=1), np.any(moved, axis=1))
        curve = table.replicates(lambda part: _same(part).mean(axis=0))
        return {
            "": LayerValues(
                table.replicates(lambda part: part["agreeing"].mean()),
                pairs,
                uncovered=_too_few(table["agreeing"] < 1, table["agreeing"] > 0),
            ),
            "untransformed": LayerValues(table.replicates(_kept), kept, uncovered=few_kept),
            "by_element": ElementValues(
                curve, rare=few(same.sum(axis=0), len(same)), counted=layer.moved(curve.shape[1])
            ),
        }

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition pair by pair."""
        top = activations.argmax(-1)
        m = top.shape[1]
        pairs = [row[j] == row[k] for row in top for j in range(m) for k in range(j)]
        kept = [[row[j] == row[0] for j in range(m)] for row in top]
        return {
            "": np.array(np.mean(pairs)),
            "untransformed": np.array(np.mean([row[1:] for row in kept])),
            "by_element": np.mean(kept, axis=0),
        }

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return classes 0, 0, 1 and 1, 1, 1: 4 of 6 pairs agree, and 3 of 4 elements keep the class."""
        outputs = np.eye(2)[[[0, 0, 1], [1, 1, 1]]]
        answers = {"": 4 / 6, "untransformed": 3 / 4, "by_element": [1.0, 1.0, 0.5]}
        return KnownAnswer.each({}, outputs, answers)


def _agreeing(top: Tensor) -> Tensor:
    """Return the (sample,) share of pairs of elements with the same class."""
    elements = top.shape[1]
    same = torch.stack([(top == column[:, None]).sum(1) for column in top.T]).sum(0) - elements
    return same.double() / (elements * (elements - 1))


def _too_few(changing: Any, keeping: Any) -> str:
    """Explain why there is no interval if predictions change for nearly all samples, or for hardly any."""
    changed, kept, samples = int(np.sum(changing)), int(np.sum(keeping)), len(changing)
    return few_events(changed, samples, "predictions change") or few_events(kept, samples, "predictions stay")


def _same(part: SampleTable) -> np.ndarray:
    """Return whether each element keeps the untransformed prediction, (sample, element)."""
    return part["top"] == part["rest"]


def _kept(part: SampleTable) -> float:
    """Return the share of the elements other than the identity that keep the prediction."""
    return float((_same(part) * part["moving"]).sum() / part["moving"].sum())


def _chance(table: SampleTable) -> tuple[float, float]:
    """Return both shares with the second prediction taken from another sample."""
    n, m = table["top"].shape
    if n < 2:
        return float("nan"), float("nan")
    classes = np.unique(np.concatenate([table["top"], table["rest"]], axis=1))
    counts = np.stack([(table["top"] == c).sum(axis=0) for c in classes], axis=1)  # (element, class)
    rest = np.array([(table["rest"] == c).sum() for c in classes])
    moved = table["moving"][0] > 0
    everywhere = counts.sum(axis=0) @ counts.sum(axis=0) - (counts * counts).sum()
    own = table["agreeing"].sum() * m * (m - 1)
    pairs = (everywhere - own) / (n * (n - 1) * m * (m - 1))
    kept = (counts[moved] @ rest).sum() - _same(table)[:, moved].sum()
    return float(pairs), float(kept / (n * (n - 1) * moved.sum()))
