"""Mutual information between responses and the transformation or the class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from invariscope.common.checks import set_integers
from invariscope.intervals import interaction_reach
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.values import LayerContext, Output, UnitValues
from invariscope.statistics.counts.bin_kernel import BINS
from invariscope.statistics.counts.bin_pilot import (
    BETWEEN,
    chosen_units,
    element_orders,
    label_orders,
    sample_hashes,
)
from invariscope.statistics.counts.binned import BinCounts, InformationBits


@dataclass(frozen=True, kw_only=True)
class Information(Measure):
    """How much a response reveals about the transformation and about the class, in bits.

    Mutual information between a unit's response and the applied element, and between it and the class.

    .. math:: I(J; A_u) = \\sum_{j,b} p(j, b) \\log_2 \\frac{p(j, b)}{p(j)\\, p(b)}, \\quad
        I(Y; A_u) = \\sum_{y,b} p(y, b) \\log_2 \\frac{p(y, b)}{p(y)\\, p(b)}

    Shapes: activations (sample, element, unit...) to one value per unit. J is uniform on the m elements, Y is
    the sample's class, and A is the response, assigned to one of 16 bins between quantiles of the
    untransformed responses; a value shared by many responses, such as a ReLU's zero, has its own bin.
    Outputs: `transform`, I(J; A) in bits, and `transform_share`, its share of log2 m; with labels, `label`,
    I(Y; A) in bits, and `label_share`, its share of the entropy of Y. The mean over permutations (of elements
    within each sample, of labels across samples) is subtracted: the result is 0 on average if there is no
    information, and may be negative.

    At most `units` units per layer are examined, selected by a hash; the others are NaN in the map. The
    column `units` counts the examined units, and `units_total` all units of the layer. The error due to this
    selection is not estimated: `drawing_error` is NaN, and intervals cover samples only. The bins come from
    at most `pilot` samples, also selected by a hash, and are the same for all classes. Units whose responses
    all fall into one bin are *dead*: NaN, left out, and counted.

    Caveats: I(J; A) is 0 if the distribution over all samples stays the same, even if the response to every
    single sample changes (for example, under rotations of images without a preferred orientation). The 16
    bins limit the information, and the information of single units does not add up to the layer's. Bins
    depend on the untransformed responses only: a unit that is silent on all of them has two bins and little
    information, however well its other responses separate the elements. If information is high and samples
    are few, the permutations subtract slightly too much (in one trial, 5 % with 128 samples and 1 % with
    512); the intervals are corrected for this and may be entirely above the value.

    Reading:
        0 bits about the transformation: the response does not reveal which element was applied. It does not
        mean that each sample's response stays the same. Each bit halves the possibilities. A share of 1: the
        response determines the element or class.

    Args:
        units: number of units examined per layer.
        pilot: number of untransformed samples that determine the bins.
        permutations: number of permutations; 0: the plug-in estimate, which is biased upwards for few
            samples.
        labels: whether to measure the information about the class.
        seed: seed of every selection and permutation.

    Raises:
        ValueError: an option that is not an integer, or is too small.

    Source:
        Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x, for the information. The permutations respect
        the crossed design, in which only the samples are independent observations.

    >>> moved = np.array([[[0.0], [9.0]], [[1.0], [9.0]], [[2.0], [9.0]], [[3.0], [9.0]]])
    >>> Information(permutations=0).oracle(moved, None)["transform"].round(3)
    array([0.549])
    """

    fewest_elements: ClassVar[int] = 2

    units: int = 256
    pilot: int = 1024
    permutations: int = 20
    labels: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        set_integers(self, units=1, pilot=BINS, permutations=0, seed=0)
        if not isinstance(self.labels, bool):
            raise ValueError(f"labels must be True or False; got {self.labels!r}")

    def outputs(self) -> dict[str, Output]:
        """Describe bits and shares, which have no ideal value: chance and an invariant unit both give 0."""
        most = float(np.log2(BINS))
        titles = {
            "transform": "bits about the element",
            "transform_share": "bits about the element, relative to their maximum",
            "label": "bits about the class",
            "label_share": "bits about the class, relative to their maximum",
        }
        return {name: Output(title, (-most, most), float("nan")) for name, title in titles.items()}

    def statistics(self) -> tuple[BinCounts]:
        """Return counts by bin."""
        return (BinCounts(self.units, self.pilot, self.permutations, self.labels, self.seed),)

    def evaluate(self, finals: tuple[InformationBits], layer: LayerContext) -> dict[str, UnitValues]:
        """Return bits and their shares of the maximum; bits about the class need several classes."""
        (found,) = finals
        about = {"transform": found.about_element, "transform_share": found.about_element}
        whole = {"transform": 1.0, "transform_share": np.log2(found.elements), "label": 1.0}
        if found.entropy[0] > 0:
            about |= {"label": found.about_class, "label_share": found.about_class}
            whole["label_share"] = np.where(found.entropy > 0, found.entropy, np.nan)[:, None]
        reach = {name: self._reach(name, bits, found) for name, bits in about.items()}
        return {
            name: replace(_in_layer(bits / whole[name], found), reach=reach[name])
            for name, bits in about.items()
        }

    @staticmethod
    def _reach(name: str, bits: np.ndarray, found: InformationBits) -> float:
        """Return the factor, at most 1, that narrows the intervals of values near zero.

        Such values depend on pairs of samples, whose variance a jackknife counts almost twice.
        """
        together = found.together
        if together is None or found.single.all():
            return 1.0
        plain = together.about_element if name.startswith("transform") else together.about_class
        layer = plain[:, ~found.single].mean(axis=1)
        values, pairs = np.split(layer, [1 + len(together.sizes)])
        return interaction_reach(values, pairs, together.pairs, together.sizes.tolist())

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition unit by unit."""
        samples, elements = activations.shape[:2]
        flat = activations.reshape(samples, elements, -1)
        chosen = chosen_units(flat.shape[2], self.units, seed=self.seed)
        few = np.argsort(sample_hashes(np.arange(samples), seed=self.seed))[: self.pilot]
        least = 1e-3 * np.sqrt((flat[few, 0][:, chosen] ** 2).mean())
        found: dict[str, np.ndarray] = {}
        for unit in chosen:
            bins = _naive_bins(flat[:, :, unit], flat[few, 0, unit], least)
            for name, value in self._naive(bins, labels if self.labels else None).items():
                value = np.nan if len(np.unique(bins)) < 2 else value
                found.setdefault(name, np.full(flat.shape[2], np.nan))[unit] = value
        return {name: values.reshape(activations.shape[2:]) for name, values in found.items()}

    def _naive(self, bins: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
        """Return the information about element and class from (sample, element) bins."""
        samples, elements = bins.shape
        everyone = np.arange(samples)
        orders = element_orders(everyone, self.permutations, elements, seed=self.seed)
        plain = np.tile(np.arange(elements), (samples, 1))
        bits = _naive_bits(plain, bins) - _mean(_naive_bits(order, bins) for order in orders.swapaxes(0, 1))
        found = {"transform": bits, "transform_share": bits / np.log2(elements)}
        if labels is None or len(np.unique(labels)) < 2:
            return found
        own, shares = labels[:, None].repeat(elements, 1), np.unique(labels, return_counts=True)[1] / samples
        given = label_orders(everyone, self.permutations, seed=self.seed).T
        bits = _naive_bits(own, bins) - _mean(_naive_bits(own[order], bins) for order in given)
        return found | {"label": bits, "label_share": -bits / (shares * np.log2(shares)).sum()}

    @classmethod
    def examples(cls) -> tuple[Information, ...]:
        """Return instances with all or some units, all or some samples, with and without correction."""
        return (cls(), cls(units=7, pilot=16, seed=3), cls(permutations=0), cls(labels=False))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return four samples of two classes, with two elements; the last unit is constant.

        The first unit equals the element: 1 bit about it, 0 about the class. The second depends on the sample
        alone: 0 bits about the element, 1 about the class. The third leaves its range under the second
        element: five of eight responses share the uppermost bin, four of them from that element and two from
        the first class.
        """
        activations = [
            [[0.0, 0.0, 0.0, 7.0], [1.0, 0.0, 9.0, 7.0]],
            [[0.0, 1.0, 1.0, 7.0], [1.0, 1.0, 9.0, 7.0]],
            [[0.0, 2.0, 2.0, 7.0], [1.0, 2.0, 9.0, 7.0]],
            [[0.0, 3.0, 3.0, 7.0], [1.0, 3.0, 9.0, 7.0]],
        ]
        five = np.log2(5)
        by_element = [1.0, 0.0, 1 - (5 * five - 8) / 8, np.nan]
        by_class = [0.0, 1.0, 1 - (5 * five - 2 - 3 * np.log2(3)) / 8, np.nan]
        options, labels = {"permutations": 0}, [4, 4, 6, 6]
        return (
            KnownAnswer(options, activations, by_element, output="transform"),
            KnownAnswer(options, activations, by_element, output="transform_share"),
            KnownAnswer(options, activations, by_class, labels=labels, output="label"),
            KnownAnswer(options, activations, by_class, labels=labels, output="label_share"),
        )


def _in_layer(bits: np.ndarray, found: InformationBits) -> UnitValues:
    """Return values of the examined units in the layer's own shape, NaN elsewhere; the null is 0."""
    size = int(np.prod(found.shape))
    values, counted = np.full((len(bits), size), np.nan), np.zeros(size, bool)
    values[:, found.chosen] = np.where(found.single, np.nan, bits)
    counted[found.chosen] = ~found.single
    examined = np.zeros(size, bool)
    examined[found.chosen] = True
    shape, some = found.shape, len(found.chosen) < size and counted.any()
    return UnitValues(
        values.reshape(-1, *shape),
        counted.reshape(shape),
        dead=int(found.single.sum()),
        null=np.zeros(shape),
        note=f"{len(found.chosen):,} of {size:,} units were examined" if some else "",
        examined=examined.reshape(shape),
    )


def _naive_bins(values: np.ndarray, plain: np.ndarray, least: float) -> np.ndarray:
    """Return (sample, element) bins of one unit by quantiles of `plain`; a repeated value has its own bin."""
    tolerance = 1e-10 * max(np.sqrt((plain**2).mean()), least)
    groups: list[list[float]] = []
    ordered, last = sorted(plain.tolist()), len(plain) - 1
    for k in range(1, BINS):
        below = last * k // BINS
        quantile = ordered[below] + BETWEEN * (ordered[min(below + 1, last)] - ordered[below])
        if groups and quantile - groups[-1][0] <= tolerance:
            groups[-1].append(quantile)
        else:
            groups.append([quantile])
    edges = [e for g in groups for e in ([g[0] - tolerance, g[0] + tolerance] if len(g) > 1 else g)]
    return np.searchsorted(edges, values, side="left")


def _naive_bits(rows: np.ndarray, bins: np.ndarray) -> float:
    """Return the mutual information of two integer arrays."""
    _, joint = np.unique(np.stack([rows.ravel(), bins.ravel()]), axis=1, return_counts=True)
    parts = (np.unique(array, return_counts=True)[1] for array in (rows, bins))
    return sum(_entropy(part) for part in parts) - _entropy(joint)


def _entropy(counts: np.ndarray) -> float:
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _mean(values: Any) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
