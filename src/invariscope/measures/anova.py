"""Two-way analysis of variance of each unit's responses: sample, transformation and residual."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.checks import refuse_other, set_integers
from invariscope.measures.anova_table import CORRECTIONS, FTests, SumsOfSquares
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.values import SHARE, LayerContext, LayerValues, Output, Values
from invariscope.measures.variance_parts import Parts
from invariscope.statistics.base import Statistic
from invariscope.statistics.errors import finite
from invariscope.statistics.fixed_points import FixedPoints
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.statistics.sums import BucketSums, SumStatistic

_UNIT_CHUNK = 1 << 14


@dataclass(frozen=True)
class Sphericity:
    """Greenhouse and Geisser's factor for the degrees of freedom.

    Args:
        epsilon: (replicate, unit...) the factor, from 1/(m − 1) to 1 (sphericity); NaN for units without
            residual variation.
    """

    epsilon: np.ndarray


@dataclass(frozen=True)
class ElementCovariance(SumStatistic):
    """Sums over samples of each unit's differences from its first element's response, and of their products.

    The state has (m + 2)(m − 1)/2 numbers per unit and bucket: for 16 elements, 135, or about a kilobyte.
    """

    @property
    def drawable(self) -> bool:
        """Return True: each unit has its own covariance."""
        return True

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed per unit: one sum per difference and one per pair of differences."""
        return 8 * units * (elements + 2) * (elements - 1) // 2

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for one difference per unit and element."""
        return 8 * units * (elements - 1)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """Return an empty state; sums are relative to the differences of each stratum's first sample."""
        count, units = block.elements - 1, math.prod(block.values.shape[1:])
        sizes = {"differences": (count, units), "products": (count * (count + 1) // 2, units)}
        return BucketSums.empty(block, buckets, sizes, fixed=(count, units))

    def update(self, state: BucketSums, block: Block) -> None:
        """Add a block's orbits."""
        found, fixed = finite(_differences(block)), state.points
        fixed.meet(block.membership, lambda sample: found[sample].cpu().numpy())
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            chosen = found[torch.from_numpy(samples).to(found.device)]
            chosen -= torch.from_numpy(fixed.values[fixed.strata[bucket]]).to(found.device)
            state.sums["differences"][bucket] += chosen.sum(0).cpu().numpy()
            _add_products(state.sums["products"][bucket], chosen)

    def relative_to(self, state: BucketSums, fixed: FixedPoints) -> dict[str, np.ndarray]:
        """Return the same sums and products, taken relative to other reference points."""
        move, counts = state.points.moves_to(fixed), state.counts[:, None, None]
        rows, columns = np.triu_indices(move.shape[1])
        sums = state.sums["differences"]
        cross = move[:, rows] * sums[:, columns] + move[:, columns] * sums[:, rows]
        products = state.sums["products"] + cross + counts * move[:, rows] * move[:, columns]
        return {"differences": sums + counts * move, "products": products}

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> Sphericity:
        """Return the sphericity factor for all samples, and with each group of samples left out."""
        state = self.together(state, groups)
        sums, products = state.replicates("differences", groups), state.replicates("products", groups)
        counts = state.samples(groups).tolist()
        found = [_epsilon(*parts) for parts in zip(sums, products, counts, strict=True)]
        return Sphericity(np.stack(found).reshape(-1, *state.shape))


def _differences(block: Block) -> Tensor:
    """Return (sample, element − 1, unit) differences from the first element, in float64."""
    orbits = block.orbits().flatten(2)
    return orbits[:, 1:].double() - orbits[:, :1]


def _add_products(products: np.ndarray, found: Tensor) -> None:
    """Add Σ_i d_ij·d_ik for j ≤ k to (pair, unit) products."""
    count, units = found.shape[1:]
    for lo in range(0, units, _UNIT_CHUNK):
        part, row = found[:, :, lo : lo + _UNIT_CHUNK], 0
        for j in range(count):
            added = (part[:, j : j + 1] * part[:, j:]).sum(0)
            products[row : row + count - j, lo : lo + _UNIT_CHUNK] += added.cpu().numpy()
            row += count - j


def _epsilon(sums: np.ndarray, products: np.ndarray, count: float) -> np.ndarray:
    """Return (unit,) tr²(C) / ((m − 1)·tr(C²)), with C the doubly centred covariance.

    Args:
        sums: (difference, unit) Σ_i d_ij.
        products: (pair, unit) Σ_i d_ij·d_ik.
        count: number of samples.
    """
    differences = len(sums)
    elements = differences + 1
    rows, columns = np.triu_indices(differences)
    covariance = products - sums[rows] * sums[columns] / count
    diagonal = rows == columns
    twice = np.where(diagonal, 1.0, 2.0)
    each = np.arange(differences)[:, None]
    means = ((rows == each) | (columns == each)).astype(float) @ covariance / elements
    grand = means.sum(axis=0) / elements
    trace = covariance[diagonal].sum(axis=0) - elements * grand
    squares = twice @ covariance**2 - 2 * elements * (means**2).sum(axis=0) + (elements * grand) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(trace**2 / (differences * squares), 1 / differences, 1.0)


GREENHOUSE_GEISSER = "greenhouse_geisser"
REJECTING = "rejecting_{}"


@dataclass(frozen=True, kw_only=True)
class Anova(Measure):
    """How much of a unit's variation is due to the sample, the transformation, or both together.

    Shares of a unit's variation due to samples, transformation and residual, and tests of the transformation.

    .. math:: \\sum_{ij} (A_{ij} - \\bar A)^2 = m \\sum_i (\\bar A_{i\\cdot} - \\bar A)^2
        + n \\sum_j (\\bar A_{\\cdot j} - \\bar A)^2
        + \\sum_{ij} (A_{ij} - \\bar A_{i\\cdot} - \\bar A_{\\cdot j} + \\bar A)^2

    .. math:: F = \\frac{SS_T / (m - 1)}{SS_R / ((m - 1)(n - 1))}, \\qquad
        F^{oneway} = \\frac{n \\sum_j (\\bar A_{\\cdot j} - \\bar A)^2 / (m - 1)}
            {\\sum_{ij} (A_{ij} - \\bar A_{\\cdot j})^2 / (m (n - 1))}

    Shapes: activations (sample, element, unit...) to one value per unit, two-way without replication.
    Outputs: `share_sample`, `share_transform` and `share_residual`, which sum to 1 (a layer's mean share is
    reported with the ratio of the sums over its units); `F` with `p` (m − 1 and (m − 1)(n − 1) degrees of
    freedom); `F_oneway`; and, per layer, the share of units that reject "no effect of the transformation on
    the mean": `rejecting_bonferroni`, `rejecting_benjamini_hochberg`, `rejecting_benjamini_yekutieli`. Units
    whose response the transformation does not change have F = 0 and p = 1. If the residual is zero, F is
    infinite, p is 0 and the unit is left out of the mean F. Dead and sparse units are always left out. F and
    p are best read per unit, from their maps. Formatted tables therefore show the shares of rejecting units;
    a layer's mean F and p are only in `result.table`. The nulls of `share_sample` and `share_residual` are
    the expected values if each element acted on an independently drawn sample; their ratio is 1 to m − 1. The
    transformation's share does not depend on which responses belong to one sample.

    Caveats: effects of the transformation that differ between samples are in the residual, so a
    transformation share of zero is not invariance. Chance alone gives the transformation a share of about
    `share_residual`/(n − 1); the interval is corrected for this bias but the value is not, so with few
    samples a tiny share can be above its own interval. F assumes that the residuals of all pairs of elements
    have the same variance (sphericity), which does not hold for neighbouring angles. `F_oneway` is the
    published statistic: its observations are repeated measures, so comparing it with an F distribution is not
    a test of level α. Benjamini–Hochberg assumes positive dependence between units; Benjamini–Yekutieli
    assumes nothing.

    Reading:
        Shares of a unit's variation, from 0 to 1. Sample share near 1: the unit follows the input, whatever
        the transformation. The transformation share is the effect common to all samples; effects that differ
        between samples are in the residual, so a transformation share of 0 is not invariance. With many
        samples even the smallest effect is significant: a small p means that there is an effect, not that it
        is large.

    Args:
        sphericity: None assumes it; "greenhouse_geisser" multiplies the degrees of freedom by the estimated
            factor, which needs the covariance of the elements for every unit: 4(m + 2)(m − 1) bytes per unit
            and jackknife group, an error if that exceeds `memory_gb`.
        correction: which share of rejecting units to report; None: all three.
        alpha: level of the tests, jointly for all units of a layer.
        min_firing: units that deviate from their usual response for fewer samples than this are sparse and
            left out, as for the variances.

    Raises:
        ValueError: an unknown option, or a level outside 0 to 1.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, for the one-way F; Greenhouse and Geisser
        1959, doi:10.1007/BF02289823; Benjamini and Yekutieli 2001, doi:10.1214/aos/1013699998.

    >>> Anova().oracle(np.array([[[1.0], [3.0]], [[5.0], [5.0]]]), None)["share_transform"].round(4)
    array([0.0909])
    """

    fewest_elements: ClassVar[int] = 2

    sphericity: str | None = None
    correction: str | None = None
    alpha: float = 0.05
    min_firing: int = 20

    def __post_init__(self) -> None:
        refuse_other(self, sphericity=(None, GREENHOUSE_GEISSER), correction=(None, *CORRECTIONS))
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be a level between 0 and 1, such as 0.05; got {self.alpha!r}")
        set_integers(self, min_firing=0, what="samples")

    @property
    def _corrections(self) -> tuple[str, ...]:
        return CORRECTIONS if self.correction is None else (self.correction,)

    def outputs(self) -> dict[str, Output]:
        """Describe the shares of the variation, the tests per unit, and the shares of rejecting units."""
        # Test statistics grow with the number of samples, so leave-one-group-out values are not comparable.
        rejecting = Output("share of units that reject the hypothesis", SHARE, interval=False)
        return {
            "share_sample": Output("share due to the sample", SHARE, ideal=1.0),
            "share_transform": Output("share due to the transformation", SHARE),
            "share_residual": Output("residual share", SHARE),
            "F": Output("two-way F", kind="unit", interval=False),
            "p": Output("p-value of F", SHARE, kind="unit", interval=False),
            "F_oneway": Output("one-way F, as published", kind="unit", interval=False),
            **dict.fromkeys(map(REJECTING.format, self._corrections), rejecting),
        }

    def statistics(self) -> tuple[Statistic, ...]:
        """Return the variance measures' moments and, if requested, the elements' covariance."""
        return (ElementCovariance(), OrbitMoments()) if self.sphericity else (OrbitMoments(),)

    def evaluate(self, finals: Any, layer: LayerContext) -> Mapping[str, Values]:
        """Return shares, F and p per unit, and shares of rejecting units per layer."""
        parts = Parts(finals[-1], finals[-1], standard=False, known_dead=layer.dead, draw=layer.draw)
        table = SumsOfSquares(finals[-1], parts, parts.sparse(self.min_firing), self.min_firing)
        tests = FTests(table, finals[0].epsilon if self.sphericity else None)
        rejecting = {name: tests.rejecting(name, self.alpha) for name in self._corrections}
        return {
            "share_sample": table.share(table.sample, null=table.unpaired_sample),
            "share_transform": table.share(table.transform),
            "share_residual": table.share(table.residual, null=table.unpaired_residual),
            "F": table.units(table.f[:1], uncovered=_NO_INTERVAL),
            "p": table.units(tests.p[:1], uncovered=_NO_INTERVAL),
            "F_oneway": table.units(table.f_oneway[:1], uncovered=_NO_INTERVAL),
            **{REJECTING.format(k): LayerValues(v, uncovered=_NO_INTERVAL) for k, v in rejecting.items()},
        }

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the sums of squares by definition, and p with SciPy's F distribution."""
        from scipy import stats  # takes a second to load, and only tests need it

        n, m = activations.shape[:2]
        mean, rows, columns = activations.mean((0, 1)), activations.mean(1), activations.mean(0)
        transform = n * ((columns - mean) ** 2).sum(0)
        residual = ((activations - rows[:, None] - columns + mean) ** 2).sum((0, 1))
        total = ((activations - mean) ** 2).sum((0, 1))
        f = (n - 1) * transform / residual
        within = ((activations - columns) ** 2).sum((0, 1)) / (m * (n - 1))
        epsilon = _naive_epsilon(activations) if self.sphericity else 1.0
        p = stats.f.sf(f, epsilon * (m - 1), epsilon * (m - 1) * (n - 1))
        ranked = np.sort(p.ravel())
        return {
            "share_sample": m * ((rows - mean) ** 2).sum(0) / total,
            "share_transform": transform / total,
            "share_residual": residual / total,
            "F": f,
            "p": p,
            "F_oneway": transform / (m - 1) / within,
            **{REJECTING.format(n): _naive_rejecting(ranked, n, self.alpha) for n in self._corrections},
        }

    @classmethod
    def examples(cls) -> tuple[Anova, ...]:
        """Return instances with and without `sphericity`, and a level at which the corrections differ."""
        return (
            cls(min_firing=0),
            cls(min_firing=0, sphericity=GREENHOUSE_GEISSER),
            cls(min_firing=0, alpha=0.6, correction="benjamini_yekutieli"),
        )

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return four units: with both effects, with no transformation effect, with no residual, and dead."""
        activations = [
            [[1.0, 5.0, 0.0, 4.0], [3.0, 5.0, 2.0, 4.0]],
            [[5.0, 7.0, 1.0, 4.0], [5.0, 7.0, 3.0, 4.0]],
        ]
        nan, inf = float("nan"), float("inf")
        answers = {
            "share_sample": [9 / 11, 1.0, 0.2, nan],
            "share_transform": [1 / 11, 0.0, 0.8, nan],
            "share_residual": [1 / 11, 0.0, 0.0, nan],
            "F": [1.0, 0.0, inf, nan],
            "p": [0.5, 1.0, 0.0, nan],
            "F_oneway": [0.2, 0.0, 8.0, nan],
            "rejecting_bonferroni": 1 / 3,
        }
        return KnownAnswer.each({}, activations, answers)


_NO_INTERVAL = "no interval: a test statistic grows with the number of samples"


def _naive_epsilon(activations: np.ndarray) -> np.ndarray:
    n, m = activations.shape[:2]
    centring = np.eye(m) - 1 / m
    units = activations.reshape(n, m, -1)
    covariances = [centring @ np.cov(units[..., u], rowvar=False) @ centring for u in range(units.shape[2])]
    found = [np.trace(c) ** 2 / ((m - 1) * np.trace(c @ c)) for c in covariances]
    return np.reshape(found, activations.shape[2:])


def _naive_rejecting(ranked: np.ndarray, correction: str, alpha: float) -> np.ndarray:
    count = len(ranked)
    ranks = np.arange(1, count + 1)
    levels = {
        "bonferroni": np.full(count, alpha / count),
        "benjamini_hochberg": alpha * ranks / count,
        "benjamini_yekutieli": alpha * ranks / (count * (1 / ranks).sum()),
    }[correction]
    passing = np.flatnonzero(ranked <= levels)
    return np.array(0.0 if not len(passing) else (passing[-1] + 1) / count)
