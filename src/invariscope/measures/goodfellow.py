"""Firing invariance of single units (Goodfellow et al. 2009)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invariscope.common.checks import refuse_other
from invariscope.intervals import Reason
from invariscope.measures.base import KnownAnswer, Measure, Presets, apply_preset
from invariscope.measures.values import LayerContext, Output, UnitValues
from invariscope.statistics.counts.firing import FiringCounts, FiringShares
from invariscope.statistics.rounding import quotient

AVERAGES = ("firing", "all")
_PRESETS: Presets = {"goodfellow2009": {}, "tmeasures": {"average": "all"}}


@dataclass(frozen=True, kw_only=True)
class Goodfellow(Measure):
    """How much more often a unit fires along the orbit of an input that it prefers.

    Ratio of the firing rate along orbits of inputs that make the unit fire to its overall firing rate.

    .. math:: S_u = \\frac{L_u}{G_u}, \\quad G_u = P(s\\, a_u(x) > \\theta_u), \\quad
        L_u = \\langle \\, \\mathrm{share\\ of\\ the\\ orbit\\ with}\\ s\\, a_u(t_j x) > \\theta_u
        \\, \\rangle_{x \\,:\\, s a_u(x) > \\theta_u}

    Shapes: activations (sample, element, unit...) to one value per unit, in three outputs: the score S, and
    its parts `local` (L) and `global` (G). The threshold is the linearly interpolated quantile at 1 − α of
    the untransformed responses; a unit fires if its response exceeds the threshold by more than 1e-9 of its
    largest response. The orbit includes the untransformed input. Both signs s = ±1 are tried, and the one
    with the larger S is kept. A layer's values, for all three outputs, are means over the best ⌈20 %⌉ of the
    units that fire. Units that never fire are *dead*: NaN, and counted. The thresholds come from all samples,
    even for single classes and leave-one-group-out values.

    Caveats: only α·n samples make a unit fire. If these are few, selecting the best units favours those whose
    few samples happen to be stable. Responses that tie at the threshold do not count as firing: a saturating
    unit has no score, or a G far below α and a large score.

    Reading:
        1: along the orbit of a preferred input, the unit fires as rarely as on any input. 1/G (100 if 1 % of
        inputs make it fire): it fires along the whole orbit. The layer's value describes only the best fifth
        of its units.

    Args:
        alpha: share of the untransformed inputs that make a unit fire.
        best: share of the firing units that make up the layer's value.
        average: "firing": average L over the samples that make the unit fire; "all": over all samples.
        seed: seed of the subset that determines the thresholds if memory is short (reported in a note).
        preset: "goodfellow2009", or "tmeasures", which implies average="all".

    Raises:
        ValueError: an unknown option, or a share outside its range.

    Source:
        Goodfellow, Le, Saxe, Lee and Ng 2009, Measuring Invariances in Deep Networks, section 3.

    >>> orbit = np.array([[[0.0], [0.0]], [[0.0], [0.0]], [[0.0], [0.0]], [[9.0], [8.0]]])
    >>> Goodfellow(alpha=0.25).oracle(orbit, None)[""]
    array([4.])
    """

    alpha: float = 0.01
    best: float = 0.2
    average: str = "firing"
    seed: int = 0
    preset: str | None = None

    def __post_init__(self) -> None:
        apply_preset(self, _PRESETS)
        refuse_other(self, average=AVERAGES)
        for name, value, most in (("alpha", self.alpha, 0.5), ("best", self.best, 1.0)):
            if not 0 < value <= most:
                raise ValueError(f"{name} must be a share above 0 and at most {most:g}; got {value!r}")

    def outputs(self) -> dict[str, Output]:
        """Describe the score and its two parts."""
        return {
            "": Output("firing score"),
            "local": Output("firing along preferred orbits"),
            "global": Output("firing on any input"),
        }

    def statistics(self) -> tuple[FiringCounts]:
        """Return counts above the thresholds."""
        return (FiringCounts(self.alpha, self.seed),)

    def evaluate(self, finals: tuple[FiringShares], layer: LayerContext) -> dict[str, UnitValues]:
        """Return the score and its two parts."""
        (shares,) = finals
        local = shares.stays if self.average == "firing" else shares.anywhere
        score = np.where(shares.fires > 0, quotient(local, shares.fires), np.nan)
        better = _second_is_better(score[0])[None, None].astype(np.int64)
        dead = np.isnan(score[0]).all(axis=0)
        counted = self._best(np.take_along_axis(score, better, axis=1)[0, 0])
        outputs = {"": score, "local": local, "global": shares.fires}
        few = shares.samples * self.alpha < _FIRING
        uncovered = Reason.few_decide(f"fewer than {_FIRING} samples are expected to fire") if few else ""
        if layer.draw is not None:
            uncovered = _BEST_OF_DRAWN
        return {
            name: UnitValues(
                _of_sign(values[:1] if few else values, better, dead),
                counted,
                dead=int(dead.sum()),
                uncovered=uncovered,
                draw=layer.draw,
                selected=True,
                note="" if layer.draw is None else _OF_DRAWN,
            )
            for name, values in outputs.items()
        }

    def _best(self, score: np.ndarray) -> np.ndarray:
        """Return a (unit...) mask of the units whose mean is the layer's value."""
        alive = int(np.isfinite(score).sum())
        falling = np.argsort(-score, axis=None, kind="stable")  # NaN comes last
        counted = np.zeros(score.size, bool)
        counted[falling[: _ceil(self.best * alive)]] = True
        return counted.reshape(score.shape)

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition; element 0 is the untransformed input."""
        parts = [self._naive(sign * activations) for sign in (1, -1)]
        second = _second_is_better(np.stack([score for score, _, _ in parts]))
        chosen = [np.where(second, b, a) for a, b in zip(*parts, strict=True)]
        chosen = [np.where(np.isnan(chosen[0]), np.nan, values) for values in chosen]
        return dict(zip(("", "local", "global"), chosen, strict=True))

    def _naive(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return S, L and G for responses multiplied by one sign."""
        plain = values[:, 0]
        fires = values > np.quantile(plain, 1 - self.alpha, axis=0) + 1e-9 * np.abs(plain.max(axis=0))
        weights = fires[:, 0] if self.average == "firing" else np.ones_like(fires[:, 0])
        with np.errstate(divide="ignore", invalid="ignore"):
            often = fires[:, 0].mean(axis=0)
            local = (fires.mean(axis=1) * weights).sum(axis=0) / weights.sum(axis=0)
            return np.where(often > 0, local / often, np.nan), local, often

    @classmethod
    def examples(cls) -> tuple[Goodfellow, ...]:
        """Return measures with rare and frequent firing, and with each kind of average."""
        return (cls(), cls(alpha=0.2), cls(alpha=0.2, average="all"))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return four samples with two elements, and five units.

        The first unit fires along the whole orbit, the second on only half of it, and the third is constant.
        The fourth fires with its negative, and the fifth would fire on a transformed input only.
        """
        activations = [
            [[0.0, 0.0, 1.0, 5.0, 1.0], [0.0, 1.0, 1.0, 5.0, 9.0]],
            [[1.0, 1.0, 1.0, 5.0, 1.0], [1.0, 9.0, 1.0, 5.0, 1.0]],
            [[2.0, 2.0, 1.0, 5.0, 1.0], [2.0, 2.0, 1.0, 5.0, 1.0]],
            [[3.0, 3.0, 1.0, 1.0, 1.0], [3.0, 0.0, 1.0, 1.0, 1.0]],
        ]
        dead = np.nan
        return (
            KnownAnswer({"alpha": 0.25}, activations, [4.0, 2.0, dead, 4.0, dead]),
            KnownAnswer({"alpha": 0.25}, activations, [1.0, 0.5, dead, 1.0, dead], output="local"),
            KnownAnswer({"alpha": 0.25}, activations, [0.25, 0.25, dead, 0.25, dead], output="global"),
            KnownAnswer({"alpha": 0.25, "preset": "tmeasures"}, activations, [1.0, 1.0, dead, 1.0, dead]),
        )


_FIRING = 8  # one per jackknife group: with fewer, leaving a group out changes the score systematically
_OF_DRAWN = "the best units are selected among the drawn ones"
_BEST_OF_DRAWN = "no interval: the best units depend on the draw; units='all' takes all units"


def _of_sign(values: np.ndarray, better: np.ndarray, dead: np.ndarray) -> np.ndarray:
    """Return the (replicate, unit...) values of each unit's better sign; NaN for dead units."""
    chosen = np.take_along_axis(values, np.broadcast_to(better, (len(values), *better.shape[1:])), axis=1)
    return np.where(dead, np.nan, chosen[:, 0])


def _second_is_better(score: np.ndarray) -> np.ndarray:
    """Return a (unit...) mask of units whose negative has the larger score, by more than rounding."""
    first, second = np.nan_to_num(score, nan=0.0)
    return second > first * (1 + 1e-9)


def _ceil(value: float) -> int:
    """Round up, tolerating products such as 0.2 · 15 that rounding has moved just above an integer."""
    return int(np.ceil(value - 1e-9))
