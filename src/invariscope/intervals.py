"""Intervals over samples by the delete-a-group jackknife, and why a value may have none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias

import numpy as np

GROUPS = 8
MIN_PER_GROUP = 8
LEVEL = 0.95
_LEAST_LOG_P = -600.0
# Factor that widens the intervals of a run that stops once they are narrow, because such a run tends to stop
# when they are narrow by chance (simulated in benchmarks/sequential.py).
SEQUENTIAL_REACH = 1.1
# Share of the doubly counted variance to subtract (simulated in benchmarks/coverage.py).
_TAKEN_OFF = 0.8
# Groups ignore classes, so a class needs about 150 samples for each group to have eight of them.
ENOUGH = "64 samples suffice, or about 150 per class for intervals of single classes"
# Effective number of samples (clusters), (Σd)²/Σd², that a mean of variances or squared distances needs.
DECISIVE = 5.0

ReasonKind: TypeAlias = Literal["never", "small_groups", "few_decide"]


class Reason(str):
    """Why a value has no interval: a text, with a kind for programs.

    Args:
        text: the explanation shown to users.
        kind: "small_groups": a group has too few samples; "few_decide": too few samples decide the value;
            "never": no number of samples would give an interval.
    """

    kind: ReasonKind

    def __new__(cls, text: str, kind: ReasonKind = "never") -> Self:
        """Return the text as a reason of this kind."""
        reason = super().__new__(cls, text)
        reason.kind = kind
        return reason

    @classmethod
    def few_decide(cls, text: str) -> Self:
        """Return the reason for a value that too few samples decide."""
        return cls(f"no interval yet: {text}", "few_decide")


def kind_of(reason: str) -> ReasonKind:
    """Return the kind of a reason; "never" for a plain text."""
    return reason.kind if isinstance(reason, Reason) else "never"


@dataclass(frozen=True)
class Interval:
    """A two-sided interval, its centre (the bias-corrected estimate) and the standard error.

    Args:
        low, high: ends of the interval.
        centre: bias-corrected estimate.
        error: standard error; NaN if unknown.
        freedom: degrees of freedom of the error.
        logarithmic: whether the interval is symmetric in the logarithm.
        drawing: standard error due to a draw of units, which is independent of `error`, and its degrees of
            freedom.
    """

    low: float
    high: float
    centre: float = math.nan
    error: float = math.nan
    freedom: float = GROUPS - 1
    logarithmic: bool = False
    drawing: tuple[float, float] = (0.0, math.inf)

    @property
    def columns(self) -> dict[str, Any]:
        """Columns of a result row: both ends and the bias-corrected estimate."""
        return {"ci_low": self.low, "ci_high": self.high, "corrected": self.centre}

    def within(self, least: float = -math.inf, most: float = math.inf) -> Interval:
        """Return the interval clipped to the smallest and largest possible values; NaN stays NaN.

        >>> Interval(-0.1, 0.3, 0.1).within(0.0, 1.0).columns
        {'ci_low': 0.0, 'ci_high': 0.3, 'corrected': 0.1}
        """
        if self is MISSING:
            return self
        low, high, centre = (float(min(max(x, least), most)) for x in (self.low, self.high, self.centre))
        return replace(self, low=low, high=high, centre=centre)

    def exponential(self) -> Interval:
        """Return the interval of the exponential of the value."""
        low, high, centre = (math.exp(bound) for bound in (self.low, self.high, self.centre))
        return Interval(low, high, centre, centre * self.error, self.freedom, logarithmic=True)

    @property
    def p(self) -> float:
        """Two-sided p-value of the hypothesis that the true value is zero."""
        return self.p_at(0.0)

    def p_at(self, bound: float) -> float:
        """Return the two-sided p-value of the hypothesis that the true value is `bound`.

        It is 0.05 if `bound` is an end of the interval, and NaN if the standard error is unknown.
        """
        from scipy import optimize, special

        if not self.error > 0:
            return math.nan
        distance = abs(self.centre - bound)
        if self.logarithmic:
            distance = self.centre * abs(math.log(self.centre / bound)) if bound > 0 else math.inf
        if not self.drawing[0] or not 0 < distance < math.inf:
            return float(2 * special.stdtr(self.freedom, -distance / self.error))

        def excess(log_p: float) -> float:
            return self._half(math.exp(log_p)) - distance

        if excess(_LEAST_LOG_P) <= 0:
            return 0.0
        return math.exp(optimize.root_scalar(excess, bracket=(_LEAST_LOG_P, 0.0)).root)

    def _half(self, p: float) -> float:
        """Return half the width of the interval of level 1 − p."""
        error, freedom = self.drawing
        return math.hypot(_times(p, self.freedom) * self.error, _times(p, freedom) * error)

    def with_drawing(self, error: float, freedom: float) -> Interval:
        r"""Return the interval widened by the error of a draw of units.

        .. math:: \hat\theta_J \pm \sqrt{t_{G-1}^2 v_1 + t_{\nu_2}^2 v_2}

        Each part has its own degrees of freedom: for normal errors the interval covers 95.0 to 96.5 %.

        Args:
            error: standard error √v₂.
            freedom: its degrees of freedom, ν₂.

        >>> wide = Interval(-2.0, 2.0, 0.0, 1.0, 7).with_drawing(1.0, 7)
        >>> round(wide.high, 3), round(wide.p_at(wide.high), 6)
        (3.344, 0.05)
        """
        whole = replace(self, drawing=(error, freedom))
        half = whole._half(1 - LEVEL)
        return replace(whole, low=self.centre - half, high=self.centre + half)


MISSING = Interval(math.nan, math.nan)


def _times(p: float, freedom: float) -> float:
    """Return how many standard errors an interval of level 1 − p extends to each side of its centre."""
    from scipy import special

    return -float(special.ndtri(p / 2) if math.isinf(freedom) else special.stdtrit(freedom, p / 2))


def jackknife(
    value: float, replicates: Sequence[float], sizes: Sequence[int], *, reach: float = 1.0
) -> Interval:
    """Return the 95 % interval of an estimate from its values with each group of samples left out.

    .. math:: \\hat\\theta_J = G\\hat\\theta - \\sum_g (1 - n_g/n)\\,\\hat\\theta_{(g)}, \\qquad
        s^2 = \\frac1G \\sum_g \\frac{(\\tilde\\theta_g - \\hat\\theta_J)^2}{h_g - 1}, \\quad
        \\tilde\\theta_g = h_g\\hat\\theta - (h_g - 1)\\hat\\theta_{(g)}, \\ h_g = n/n_g

    The interval is θ_J ± t·s with G − 1 degrees of freedom. It is centred at the bias-corrected
    estimate, so `value` itself need not be in its middle. It covers sampling of the inputs only: elements and
    weights are held fixed.

    Args:
        value: the estimate from all samples.
        replicates: the estimate without group g, for each of the G groups.
        sizes: number of samples in each group; they may differ.
        reach: factor that widens the interval and its error. Simulations show that medians need one, and so
            do runs that stop once their intervals are narrow enough.
    Returns:
        The interval; NaN bounds if a replicate is not finite or a group is empty.
    Source:
        Busing, Meijer and van der Leeden 1999, doi:10.1023/A:1008800423698 (groups of unequal size).

    >>> interval = jackknife(3.0, [2.0, 4.0], [5, 5])
    >>> round(interval.centre, 3), round(interval.error, 3)
    (3.0, 1.0)
    """
    omitted, size = np.asarray(replicates, float), np.asarray(sizes, float)
    count = len(omitted)
    if count < 2 or not np.isfinite([value, *omitted]).all() or (size <= 0).any():
        return MISSING
    share = size / size.sum()
    centre = float(count * value - np.sum((1 - share) * omitted))
    pseudo = value / share - (1 / share - 1) * omitted
    error = reach * math.sqrt(np.mean((pseudo - centre) ** 2 / (1 / share - 1)))
    half = _times(1 - LEVEL, count - 1) * error
    return Interval(centre - half, centre + half, centre, error, count - 1)


def interaction_reach(
    values: np.ndarray, together: np.ndarray, pairs: np.ndarray, sizes: Sequence[int]
) -> float:
    """Return the factor, at most 1, that narrows an interval if pairs of groups interact in the value.

    A jackknife counts the variance due to pairs of samples almost twice. If this part dominates, as it does
    for a positive quantity close to zero, intervals are too wide. Leaving out two groups at once reveals its
    size. For any quadratic functional,

    .. math:: n^2\\theta - (n - n_g)^2\\theta_{(g)} - (n - n_h)^2\\theta_{(h)}
        + (n - n_g - n_h)^2\\theta_{(gh)} \\propto 2\\mu + \\alpha_g + \\alpha_h + 2\\beta_{gh}

    and the residuals after fitting the additive parts estimate the variance of β. Four fifths of the excess
    are subtracted, which gives intervals of information the right coverage in simulations. The share is below
    1 because information is not a quadratic functional, so triples of samples interact as well.

    Args:
        values: (replicate,) the value, and the values without each group.
        together: (pair,) the values without each pair of groups.
        pairs: (pair, 2) the groups of each pair; all pairs of at least four groups.
        sizes: number of samples in each group.
    Source:
        Efron and Stein 1981, doi:10.1214/aos/1176345462, on the bias.

    >>> pairs = np.array([(g, h) for g in range(4) for h in range(g)])
    >>> interaction_reach(np.zeros(5), np.zeros(6), pairs, [8] * 4)
    1.0
    """
    size, count = np.asarray(sizes, float), len(sizes)
    found = jackknife(float(values[0]), values[1:].tolist(), sizes)
    if len(pairs) <= count or not found.error > 0 or not np.isfinite(together).all():
        return 1.0
    n, first, second = size.sum(), size[pairs[:, 0]], size[pairs[:, 1]]
    single = (n - size) ** 2 * values[1:]
    mixed = n**2 * values[0] - single[pairs].sum(axis=1) + (n - first - second) ** 2 * together
    mixed /= first * second
    design = np.zeros((len(pairs), count))
    np.put_along_axis(design, pairs, 1.0, axis=1)
    rest = mixed - design @ np.linalg.lstsq(design, mixed, rcond=None)[0]
    interaction = np.square(rest).sum() / (len(pairs) - count) / 4
    counted = 4 * (count - 2) / (count * (count - 1) ** 2)
    true = 2 / (count * (count - 1))  # of the bias-corrected estimate
    excess = (counted - true) * interaction / found.error**2
    return math.sqrt(1 - _TAKEN_OFF * min(excess, 1 - true / counted))


def reaches_null(row: Mapping[str, Any], *, ideal: float = 0.0) -> bool:
    """Return whether a value is indistinguishable from its null, or farther from the ideal than the null.

    Args:
        row: a result row with its value, its interval if there is one, and its null.
        ideal: the value of a perfectly invariant or equivariant layer; NaN if there is none.

    >>> reaches_null({"value": 0.8, "ci_low": 0.7, "ci_high": 1.1, "null": 1.0})
    True
    >>> reaches_null({"value": 0.8, "ci_low": 0.7, "ci_high": 0.9, "null": 1.0})
    False
    """
    null, value = row.get("null", math.nan), row["value"]
    if not (math.isfinite(null) and math.isfinite(value)) or math.isnan(ideal):
        return False
    low, high = (bound if math.isfinite(bound) else value for bound in (row["ci_low"], row["ci_high"]))
    slack = 1e-9 * max(abs(null), abs(value))
    return high >= null - slack if null >= ideal else low <= null + slack


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the p-values of one family, adjusted for the number of tests.

    .. math:: p_{(k)}^{\\text{Holm}} = \\min\\Bigl(1, \\max_{i \\le k}\\, (m - i + 1)\\, p_{(i)}\\Bigr)

    with the m values in ascending order. If hypotheses with an adjusted value of at most 0.05 are rejected,
    the probability of rejecting any true one is at most 0.05, however the tests depend on each other. NaN
    values are not counted and stay NaN.

    Source:
        Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    >>> holm([0.01, 0.04, float("nan"), 0.03]).round(6)
    array([0.03, 0.06,  nan, 0.06])
    """
    values = np.asarray(p, float)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = np.full(values.shape, np.nan)
    steps = np.arange(len(order), 0, -1) * values[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
