"""Stability relative to noise of equal size (Petrini et al. 2021, Tomasini et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.block import Block, NotApplicableError
from invariscope.common.checks import refuse_other, set_integers
from invariscope.common.draws import Stream
from invariscope.common.registry import unknown
from invariscope.measures.base import KnownAnswer, Measure, Presets, apply_preset
from invariscope.measures.interval_limits import limits_of_uneven
from invariscope.measures.values import LayerContext, LayerValues, Output
from invariscope.statistics.base import Statistic
from invariscope.statistics.displacements import SampleDisplacements, versions
from invariscope.statistics.kept.drawn_subset import DrawnState, DrawnStatistic, without_groups
from invariscope.statistics.kept.sample_table import SampleStatistic, SampleTable
from invariscope.statistics.probes import EqualNoise, Probe, Untransformed
from invariscope.statistics.rounding import quotient
from invariscope.statistics.sample_spread import SampleSpread

AVERAGES = ("mean", "median", "unitwise_median")
PAIRS = ("different", "all")
RADII = ("per_sample", "mean")
# Intervals of medians from eight groups are too narrow: without this factor they cover the true value in 89
# to 93 % of draws.
_OF_MEDIANS = 1.2

_PRESETS: Presets = {
    "petrini2021": {"average": "unitwise_median", "pairs": "all", "radius": "mean"},
    "tomasini2022": {"pairs": "all"},
}


@dataclass(frozen=True, kw_only=True)
class Stability(Measure):
    """How much the transformation changes a representation, relative to noise of equal size.

    Displacements of a representation by the transformation and by noise of the same size.

    .. math:: D = \\frac{\\langle\\|f(\\tau x) - f(x)\\|^2\\rangle}{\\langle\\|f(x) - f(z)\\|^2\\rangle},
        \\qquad G = \\frac{\\langle\\|f(x + \\eta) - f(x)\\|^2\\rangle}{\\langle\\|f(x) - f(z)\\|^2\\rangle},
        \\qquad R = \\frac{D}{G}

    Shapes: responses (sample, element, unit...) to the transformed inputs, to as many noisy ones, and to the
    untransformed ones, to one dimensionless number of each kind per layer. R was defined for ensembles of
    diffeomorphisms, but is valid for any transform; an identity element is left out. The null of D and G
    takes f(x) from another sample.

    Caveats: R can be below 1 because D is small or because G is large, so look at both. For a layer that does
    not respond to its input, both are undefined.

    Reading:
        D: 0 is stable; 1 is as far as another sample. G: the same for isotropic noise. R = D/G: below 1, the
        network is more stable to the transformation than to noise; about 1 at initialisation. A small R does
        not imply a small D: R is also small if the network is sensitive to noise.

    Args:
        average: "mean" of ‖Δ‖² over samples and elements; "median" of ‖Δ‖², in numerators and denominator,
            the latter over pairs within a drawn subset; "unitwise_median": Σ_u median Δ_u², in numerators
            and denominator (lower median over pairs), for layers of at most 4,096 units.
        pairs: pairs (x, z) in the denominator: "different" samples, or "all" n², including the diagonal.
        radius: norm of the noise. "per_sample": the norm of τx − x, for each sample and element; "mean": the
            mean of these norms, which requires transforming the inputs once more; or a number.
        subset: number of samples whose pairs form the denominator of "median"; their responses are kept.
        seed: seed of that subset, which is drawn by sample key.
        preset: "petrini2021" or "tomasini2022": the other options as published. Rows are then named
            `stability.petrini2021.D` and so on, so that one run can hold both conventions.

    Raises:
        ValueError: an unknown option, or one that contradicts the preset.
        TypeError: inputs to which noise cannot be added.

    Source:
        Petrini et al. 2021, arXiv:2105.02468, eq. 2 to 4; Tomasini et al. 2022, arXiv:2210.01506.

    >>> moved, rest, noisy = [[1.0]], [[0.0]], [[2.0]]
    >>> responses = np.array([rest + moved + rest + noisy, [[4.0], [5.0], [4.0], [6.0]]])
    >>> {name: float(value) for name, value in Stability().oracle(responses, None).items()}
    {'D': 0.0625, 'G': 0.25, 'R': 0.25}
    """

    average: str = "mean"
    pairs: str = "different"
    radius: str | float = "per_sample"
    subset: int = 128
    seed: int = 0
    preset: str | None = None

    def __post_init__(self) -> None:
        apply_preset(self, _PRESETS)
        refuse_other(self, average=AVERAGES, pairs=PAIRS)
        if isinstance(self.radius, str) and self.radius not in RADII:
            raise unknown("radius", self.radius, RADII)
        if not isinstance(self.radius, str) and not 0 < self.radius < float("inf"):
            raise ValueError(f"radius must be {', '.join(RADII)} or a norm above 0; got {self.radius!r}")
        set_integers(self, subset=2, what="samples")

    @property
    def form(self) -> str:
        """The preset, if there is one."""
        return self.preset or ""

    def outputs(self) -> dict[str, Output]:
        """Describe the displacements by the transformation and by noise, and their ratio."""
        return {
            "D": Output("displacement by the transformation", noise_ratio="R"),
            "G": Output("displacement by noise", ideal=float("nan"), floor=False),
            "R": Output("displacement relative to noise"),
        }

    def statistics(self) -> tuple[Statistic, ...]:
        """Return displacements per sample, and distances between samples."""
        reads = (Untransformed(), EqualNoise(self.radius))
        if self.average == "unitwise_median":
            return (UnitDisplacements(reads),)
        apart = DistanceReservoir(self.subset, self.seed) if self.average == "median" else SampleSpread()
        return SampleDisplacements(reads), apart

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, LayerValues]:
        """Return the values of D, G and R for one layer."""
        if self.average == "unitwise_median":
            (table,) = finals
            above = {name: table.replicates(lambda part, n=name: _unit_medians(part[n])) for name in _MOVES}
            apart = table.replicates(lambda part: _median_distances(part["rest"], diagonal=self._diagonal))
            null = dict.fromkeys(_MOVES, np.nan)
        else:
            table, spread = finals
            middle = np.median if self.average == "median" else np.mean
            above = {name: table.replicates(lambda part, n=name: middle(part[n])) for name in _MOVES}
            far = spread.medians if self.average == "median" else spread.distance
            apart = far(diagonal=self._diagonal)
            null = {name: _null(table, name, middle) for name in _MOVES}
        limits = {name: self._limits(table, name) for name in _MOVES}
        found = {
            output: LayerValues(quotient(above[name], apart), quotient(null[name], apart[0]), **limits[name])
            for output, name in zip("DG", _MOVES, strict=True)
        }
        ratio = LayerValues(
            quotient(above["moved"], above["noisy"]),
            reach=max(found["D"].reach, found["G"].reach),
            uncovered=found["D"].uncovered or found["G"].uncovered,
        )
        return found | {"R": ratio}

    def _limits(self, table: SampleTable, name: str) -> dict[str, Any]:
        """Return the fields that limit an interval; medians do not depend on a few samples."""
        if self.average != "mean":
            return {"reach": _OF_MEDIANS}
        return limits_of_uneven(*table.decisive(table[name].sum(axis=1)))

    @property
    def _diagonal(self) -> bool:
        return self.pairs == "all"

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Evaluate the definition directly, pair by pair.

        Element 0 is the untransformed input; the second half of the columns are responses to noise.
        """
        n, columns = activations.shape[:2]
        flat = activations.reshape(n, columns, -1)
        elements = columns // 2
        rest, moved, noisy = flat[:, 0], flat[:, 1:elements], flat[:, elements + 1 :]
        squares = [(part - rest[:, None]) ** 2 for part in (moved, noisy)]
        pairs = [(rest[i] - rest[k]) ** 2 for i in range(n) for k in range(n) if i != k or self._diagonal]
        if self.average != "unitwise_median":
            middle = np.mean if self.average == "mean" else np.median
            above = [middle(part.sum(axis=2)) for part in squares]
            apart = middle([pair.sum() for pair in pairs])
        else:
            above = [np.median(part.reshape(-1, part.shape[2]), axis=0).sum() for part in squares]
            apart = np.sort(pairs, axis=0)[(len(pairs) - 1) // 2].sum()
        return {"D": above[0] / apart, "G": above[1] / apart, "R": above[0] / above[1]}

    @classmethod
    def examples(cls) -> tuple[Stability, ...]:
        """Return instances with every average, with and without the diagonal."""
        return tuple(cls(average=average, pairs=pairs) for average in AVERAGES for pairs in PAIRS)

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return samples 4 apart, displaced by 1 by element 1, and by 2 by noise; element 0 is identity."""
        responses = [[[0.0], [1.0], [0.0], [2.0]], [[4.0], [5.0], [4.0], [6.0]]]
        different = KnownAnswer.each({}, responses, {"D": 1 / 16, "G": 4 / 16, "R": 1 / 4})
        return (*different, KnownAnswer({"pairs": "all"}, responses, 1 / 8, output="D"))


_MOVES = ("moved", "noisy")
_MOST_UNITS = 4096


@dataclass(frozen=True)
class UnitDisplacements(SampleStatistic):
    """Squared displacement and untransformed response of every unit, for medians per unit.

    Columns: "moved" (sample, element, unit), "noisy" (sample, draw, unit), "rest" (sample, unit). Memory
    grows with samples × elements × units, so layers of more than 4,096 units are rejected.

    Args:
        reads: as for `SampleDisplacements`.
    """

    reads: tuple[Probe, ...] = (Untransformed(), EqualNoise())

    def rows(self, block: Block) -> dict[str, Tensor]:
        """Return squared displacements per sample of the block."""
        units = int(np.prod(block.values.shape[1:]))
        if units > _MOST_UNITS:
            raise NotApplicableError(
                f"medians per unit store every response, so layers may have at most {_MOST_UNITS} units; "
                f"got {units}. Measure the output only, or use average='mean'"
            )
        rest = block.probe("identity").flatten(2).double()
        both = versions(block, self.reads[1])
        moves = {name: (part.flatten(2).double() - rest).square() for name, part in both.items()}
        return moves | {"rest": rest[:, 0]}


def _null(table: SampleTable, name: str, middle: Callable[[np.ndarray], Any]) -> float:
    """Return the numerator with f(x) of another sample; NaN if no sample has a partner."""
    known = table[f"{name}_null"]
    known = known[np.isfinite(known)]
    return float(middle(known)) if known.size else float("nan")


def _unit_medians(squares: np.ndarray) -> float:
    """Return Σ_u median over samples and versions of (sample, version, unit) squares."""
    return float(np.median(squares.reshape(-1, squares.shape[2]), axis=0).sum())


def _median_distances(rest: np.ndarray, *, diagonal: bool) -> float:
    """Return Σ_u lower median over ordered pairs of (f_u(x) − f_u(z))²."""
    count = len(rest)
    pairs = count * count if diagonal else count * (count - 1)
    if pairs < 1:
        return float("nan")
    # The n smallest of the n² differences are the zeros of the diagonal; without them the rank shifts by n.
    rank = (pairs - 1) // 2 + (0 if diagonal else count)
    total = 0.0
    for unit in rest.T:
        squares = np.square(unit[:, None] - unit[None, :]).ravel()
        total += float(np.partition(squares, rank)[rank])
    return total


@dataclass(frozen=True)
class PairDistances:
    """(sample, sample) squared distances within the subset, and the jackknife group of each sample."""

    squares: np.ndarray
    group: np.ndarray
    groups: int

    def medians(self, *, diagonal: bool = False) -> np.ndarray:
        """Return (replicate,) median over ordered pairs of different samples, or all pairs; NaN if none."""
        return np.array([self._median(kept, diagonal) for kept in without_groups(self.group, self.groups)])

    def _median(self, kept: np.ndarray, diagonal: bool) -> float:
        squares = self.squares[np.ix_(kept, kept)]
        chosen = squares if diagonal else squares[~np.eye(len(squares), dtype=bool)]
        return float(np.median(chosen)) if chosen.size else float("nan")


@dataclass(frozen=True)
class DistanceReservoir(DrawnStatistic):
    """Responses to the untransformed samples of a subset, all pairs of which are compared.

    Args:
        size: number of samples per stratum.
        seed: seed of the draw.
    """

    stream = Stream.DISTANCE_RESERVOIR
    reads = (Untransformed(),)
    size: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the responses of `size` samples."""
        return 4 * self.size * units

    def rows(self, block: Block, samples: np.ndarray, facts: dict[str, np.ndarray]) -> np.ndarray:
        """Return (sample, unit) responses to the untransformed inputs."""
        rest = block.rest().detach().flatten(1).cpu()
        return (rest if rest.element_size() == 8 else rest.float()).numpy()[samples]

    def finalize(self, state: DrawnState, groups: list[list[int]]) -> PairDistances:
        """Return the distances of all pairs in the subset, for the samples in the given groups of buckets."""
        rows, group = self.drawn(state, groups)
        rest = rows.astype(np.float64)
        return PairDistances(
            np.stack([np.square(rest - row).sum(axis=1) for row in rest]), group, len(groups)
        )
