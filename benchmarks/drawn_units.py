"""Coverage of 95 % intervals of layer values that are estimated from drawn units.

    python -m benchmarks.drawn_units [--draws 2000] --out benchmarks/results/drawn_units.md

Each draw simulates other samples and draws other units of a layer of 512 maps of 15 × 15 units, and compares
the interval with the value of all units for infinitely many samples. The sums along orbits and across samples
that the variance measures keep for each unit and group are simulated directly. Samples differ in how far they
move, in the same way for all units, so that responses of different units are correlated. The formulas, the
draw and the interval are those of the package; Satterthwaite's form of the interval is simulated beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy import special

from benchmarks import command_line
from invariscope.intervals import GROUPS, LEVEL, Interval, jackknife
from invariscope.measures.values import UnitValues, drawing_error
from invariscope.statistics.base import replicate_sums
from invariscope.statistics.rounding import quotient
from invariscope.unit_draw import DrawingError, UnitDraw

SHAPE = (512, 15, 15)
TOTAL = int(np.prod(SHAPE))
ELEMENTS = 8
SIZES, DRAWN = (64, 256, 2048), (512, 4096)
CLASSES, OF_CLASS = 10, 64
UNEVEN = 0.5  # σ of the logarithm of how far a sample moves


@dataclass(frozen=True, eq=False)
class Layer:
    """Variances of every unit in the population, (unit,); both are 0 for a dead unit.

    Args:
        along: variance along the orbit.
        across: variance across samples.
    """

    along: np.ndarray
    across: np.ndarray

    @cached_property
    def truth(self) -> np.ndarray:
        """The mean over live units of the ratio, and the ratio of the means."""
        live = self.across > 0
        ratio = self.along[live] / self.across[live]
        return np.array([ratio.mean(), self.along.mean() / self.across.mean()])


def _over_maps(of_channel: np.ndarray, rng: np.random.Generator, *, within: float = 0.3) -> np.ndarray:
    """Return (unit,) values that vary between channels, along the rows of each map, and between units."""
    rows = np.linspace(-0.5, 0.5, SHAPE[1])[:, None]
    noise = within * rng.standard_normal(SHAPE)
    return (of_channel[:, None, None] * np.exp(rows + noise)).ravel()


def _even(rng: np.random.Generator) -> Layer:
    one = np.ones(SHAPE[0])
    return Layer(_over_maps(0.5 * one, rng), _over_maps(one, rng))


def _of_channels(rng: np.random.Generator) -> Layer:
    ratio, size = np.exp(rng.standard_normal((2, SHAPE[0])))
    return Layer(_over_maps(0.5 * ratio * size, rng), _over_maps(size, rng))


def _hot(rng: np.random.Generator) -> Layer:
    channels = np.where(np.arange(SHAPE[0]) == 200, 50.0, 1.0)
    return Layer(_over_maps(0.5 * channels, rng), _over_maps(np.ones(SHAPE[0]), rng))


def _dead(rng: np.random.Generator) -> Layer:
    known, live = _of_channels(rng), rng.random(TOTAL) < 0.4
    return Layer(known.along * live, known.across * live)


def _log_normal(rng: np.random.Generator) -> Layer:
    ratio, size = np.exp(rng.standard_normal((2, TOTAL)))
    return Layer(0.5 * ratio * size, size)


def _of_classes(rng: np.random.Generator) -> list[Layer]:
    """Return layers of the same units, which each class moves by other factors per channel."""
    known = _of_channels(rng)
    factors = np.exp(0.5 * rng.standard_normal((CLASSES, SHAPE[0]))).repeat(TOTAL // SHAPE[0], axis=1)
    return [Layer(known.along * factor, known.across) for factor in factors]


def _of_networks(rng: np.random.Generator) -> list[Layer]:
    """Return the same layer of two networks, whose units differ by other factors."""
    known = _of_channels(rng)
    factors = 1.1 * np.exp(0.3 * rng.standard_normal(TOTAL))
    return [known, Layer(known.along * factors, known.across)]


def _moving(samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return how far samples move, (2, group, sample), along orbits and across samples; and their number."""
    return np.exp(UNEVEN * rng.standard_normal((2, GROUPS, samples // GROUPS)) - UNEVEN**2 / 2)


def _gamma(moving: np.ndarray, freedom: float, units: int, rng: np.random.Generator) -> np.ndarray:
    """Return (group, unit) sums over samples of c·χ²/freedom.

    They are approximated by gamma variates with their mean and variance, and these by cubes of normal
    variates (Wilson and Hilferty 1931), since their shape parameter is at least 20.
    """
    total, squares = moving.sum(axis=1)[:, None], np.square(moving).sum(axis=1)[:, None]
    shape = freedom / 2 * total**2 / squares
    normal = rng.standard_normal((GROUPS, units), np.float32)
    return total * (1 - 1 / (9 * shape) + normal / (3 * np.sqrt(shape))) ** 3


def variances(
    layer: Layer, places: np.ndarray, moving: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return (replicate, drawn) variances along orbits and across samples of one set of samples."""
    each, count = moving.shape[2], len(places)
    n = replicate_sums(np.full((GROUPS, 1), float(each)))
    along = layer.along[places] * replicate_sums(_gamma(moving[0], ELEMENTS - 1, count, rng)) / n
    means = rng.standard_normal((GROUPS, count)) * np.sqrt(moving[1].mean(1) / each)[:, None]
    spread = _gamma(moving[1], ELEMENTS, count, rng) * (1 - 1 / each) + each * means**2
    across = (replicate_sums(spread) - replicate_sums(each * means) ** 2 / n) / (n - 1)
    return along, layer.across[places] * across


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values of one row with each group left out, and the error due to the draw."""

    replicates: np.ndarray
    error: DrawingError


def estimates(along: np.ndarray, across: np.ndarray, draw: UnitDraw) -> list[Estimate]:
    """Return the layer's mean ratio and the ratio of its means, as the normalized variance has them."""
    live = across[0] > 0
    units = UnitValues(quotient(along, across), live, draw=draw)
    error, ratio = units.layer_error(), quotient(along @ draw.weights, across @ draw.weights)
    assert error is not None
    return [
        Estimate(units.layer_values(), error),
        Estimate(ratio, drawing_error(along[0], across[0], draw)),
    ]


def satterthwaite(found: Interval, error: DrawingError) -> tuple[float, float]:
    """Return the interval with t_ν √(v₁ + v₂), ν = (v₁ + v₂)²/(v₁²/7 + v₂²/ν₂)."""
    samples, units = found.error**2, error.variance
    freedom = (samples + units) ** 2 / (samples**2 / found.freedom + units**2 / error.freedom)
    half = special.stdtrit(freedom, 0.5 + LEVEL / 2) * (samples + units) ** 0.5
    return found.centre - half, found.centre + half


@dataclass
class Cell:
    """Counts of draws, of issued intervals, and of those that cover the value, in both forms."""

    draws: int = 0
    issued: int = 0
    hits: int = 0
    satterthwaite: int = 0
    wider: list[float] = field(default_factory=list)

    def add(self, one: Estimate, truth: float, each: int) -> None:
        """Count a draw."""
        self.draws += 1
        found = jackknife(float(one.replicates[0]), one.replicates[1:].tolist(), [each] * GROUPS)
        if one.error.too_few_units(found.error**2):
            return
        whole = found.with_drawing(one.error.variance**0.5, one.error.freedom)
        low, high = satterthwaite(found, one.error)
        self.issued += 1
        self.hits += whole.low <= truth <= whole.high
        self.satterthwaite += low <= truth <= high
        self.wider.append((whole.high - whole.low) / (found.high - found.low))

    @property
    def columns(self) -> list[str]:
        """Issued, coverage, coverage of Satterthwaite's form, issued and missing, and relative width."""
        if not self.issued:
            return ["0", "–", "–", "0.0", "–"]
        shares = [self.issued / self.draws, self.hits / self.issued, self.satterthwaite / self.issued]
        shares.append((self.issued - self.hits) / self.draws)
        return [f"{100 * share:.1f}" for share in shares] + [f"{np.median(self.wider):.2f}"]


ROWS = ("mean of ratios", "ratio of means")
Table = dict[tuple[str, int, int], Cell]


def single(layers: list[Layer], samples: int, drawn: int, seed: int) -> Iterator[tuple[Estimate, float]]:
    """Yield the estimates of one layer from one draw, and their true values."""
    rng, draw = np.random.default_rng((seed, samples, drawn)), _draw(drawn, seed)
    found = variances(layers[0], draw.indices, _moving(samples, rng), rng)
    yield from zip(estimates(*found, draw), layers[0].truth, strict=True)


def over_classes(
    layers: list[Layer], samples: int, drawn: int, seed: int
) -> Iterator[tuple[Estimate, float]]:
    """Yield the estimates of the mean over classes."""
    rng, draw = np.random.default_rng((seed, samples, drawn)), _draw(drawn, seed)
    of_class = [
        estimates(*variances(layer, draw.indices, _moving(samples, rng), rng), draw) for layer in layers
    ]
    truths = np.mean([layer.truth for layer in layers], axis=0)
    for several, truth in zip(zip(*of_class, strict=True), truths, strict=True):
        mean = np.mean([one.replicates for one in several], axis=0)
        yield Estimate(mean, DrawingError.mean([one.error for one in several])), truth


def between(layers: list[Layer], samples: int, drawn: int, seed: int) -> Iterator[tuple[Estimate, float]]:
    """Yield the estimates of the difference between two networks on the same samples."""
    draw, moving = _draw(drawn, seed), _moving(samples, np.random.default_rng((seed, samples, drawn)))
    both = [
        estimates(
            *variances(layer, draw.indices, moving, np.random.default_rng((seed, samples, drawn, k))), draw
        )
        for k, layer in enumerate(layers)
    ]
    for a, b, truth in zip(*both, layers[1].truth - layers[0].truth, strict=True):
        error = DrawingError(b.error.contrasts - a.error.contrasts, min(a.error.live, b.error.live))
        yield Estimate(b.replicates - a.replicates, error), truth


def _draw(drawn: int, seed: int) -> UnitDraw:
    return UnitDraw(SHAPE, drawn, seed)


Simulated = Callable[[list[Layer], int, int, int], Iterator[tuple[Estimate, float]]]


@dataclass(frozen=True)
class Section:
    """A kind of layer: how to make it, how to estimate from it, and how to describe it."""

    title: str
    text: str
    make: Callable[[np.random.Generator], Layer | list[Layer]]
    estimate: Simulated = single
    sizes: tuple[int, ...] = SIZES


SECTIONS = (
    Section("Equal channels", "Ratios differ by a factor of about 2 within each map.", _even),
    Section(
        "Channels of different ratio", "Ratios and sizes of channels are log-normal, σ = 1.", _of_channels
    ),
    Section(
        "One hot channel of 512",
        "The transformation moves one channel 50 times as much (in variance) as the others.",
        _hot,
    ),
    Section("60 % of the units are dead", "Otherwise as for channels of different ratio.", _dead),
    Section("Log-normal units", "Each unit's ratio and size are log-normal, σ = 1.", _log_normal),
    Section(
        "Mean over ten classes",
        "Each class moves the channels by other factors (log-normal, σ = 0.5). `n` counts the samples of a "
        "class.",
        _of_classes,
        over_classes,
        (OF_CLASS,),
    ),
    Section(
        "Difference between two networks",
        "The second network moves each unit 1.1·exp(0.3 z) times as much, on the same samples.",
        _of_networks,
        between,
    ),
)


def simulate(section: Section, draws: int) -> Table:
    """Return the counts of every row of a section."""
    made = section.make(np.random.default_rng(11))
    layers = made if isinstance(made, list) else [made]
    found: Table = {}
    for samples in section.sizes:
        for drawn in DRAWN:
            for seed in range(draws):
                several = section.estimate(layers, samples, drawn, seed)
                for name, (one, truth) in zip(ROWS, several, strict=True):
                    cell = found.setdefault((name, samples, drawn), Cell())
                    cell.add(one, truth, samples // GROUPS)
    return found


_HEADER = """# Coverage of intervals from drawn units

Written by `python -m benchmarks.drawn_units`. A layer of 512 maps of 15 × 15 units (115,200), of which K are
drawn as with `units=K`; {elements} elements, n samples. Each of {draws:,} draws per row takes other samples
and other units. True values: those of all units and infinitely many samples. *Coverage* is the share of
issued intervals, θ_J ± √(t₇² v₁ + t²_ν₂ v₂), that contain the true value; *Satterthwaite* is the same for
θ_J ± t_ν √(v₁ + v₂); *missing* is the share of all draws with an interval that misses; *width* is the median
width relative to the interval over samples alone, without the error of the draw. Shares in %; one of 95 %
has a standard error of {error:.1f}.

K = 4,096 is the default (`units="auto"`). 512 units are one per channel: a draw may contain no unit of the
channels that decide a mean, and nothing then reveals this."""
_COLUMNS = "| value | n | K | issued | coverage | Satterthwaite | missing | width |"


def page(found: dict[str, Table], draws: int) -> str:
    """Return the page: explanation, summary, and a table per section."""
    error = 100 * (0.95 * 0.05 / draws) ** 0.5
    parts = [_HEADER.format(draws=draws, error=error, elements=ELEMENTS), _summary(found)]
    for section in SECTIONS:
        parts.append(f"## {section.title}\n\n{section.text}\n\n{_table(found[section.title])}")
    return "\n\n".join(parts)


def _summary(found: dict[str, Table]) -> str:
    """Return the range of coverage over all rows, for each K and each form of the interval."""
    lines = ["| K | form | coverage, range | mean | rows outside 92–97 % |", "|" + " --- |" * 5]
    for drawn in DRAWN:
        cells = [cell for table in found.values() for key, cell in table.items() if key[2] == drawn]
        for name, hits in (("t per part (used)", "hits"), ("Satterthwaite", "satterthwaite")):
            shares = [100 * getattr(cell, hits) / cell.issued for cell in cells]
            outside = f"{sum(not 92 <= share <= 97 for share in shares)} of {len(cells)}"
            span = f"{min(shares):.1f}–{max(shares):.1f}"
            lines.append(f"| {drawn:,} | {name} | {span} | {np.mean(shares):.1f} | {outside} |")
    return "\n".join(lines)


def _table(table: Table) -> str:
    lines = [_COLUMNS, "|" + " --- |" * 8]
    for (name, samples, drawn), cell in sorted(table.items()):
        lines.append(f"| {name} | {samples:,} | {drawn:,} | {' | '.join(cell.columns)} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate every section."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    arguments, found = parser.parse_args(), {}
    for section in SECTIONS:
        started = time.process_time()
        found[section.title] = simulate(section, arguments.draws)
        print(f"{section.title}: {time.process_time() - started:.0f} s", flush=True)
    command_line.publish(page(found, arguments.draws), arguments.out)


if __name__ == "__main__":
    main()
