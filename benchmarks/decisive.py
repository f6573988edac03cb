"""Choose the limits on dominant samples and rare units below which values get no interval.

    python -m benchmarks.decisive [--draws 2000] [--out FILE]

Two rules leave values without an interval. DECISIVE is the lower limit of (Σd)²/Σd², where d are the
contributions of samples to a layer's variance along orbits. RARE is the lower limit of the number of samples
to which half of the units respond unusually. This script switches both off. The first table shows coverage,
draws with an interval, and intervals that miss, for several values of DECISIVE. The second table shows the
coverage of the mean of ratios for layers whose units all respond to the same share of samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks import command_line, populations
from benchmarks.coverage_sums import holds
from benchmarks.populations import ELEMENTS, Population
from invariscope.intervals import GROUPS
from invariscope.measures.interval_limits import reach_of_uneven

BOUNDS = (0, 5, 6, 7, 8, 10, 12)
KINDS = ("relu", "linear", "heavy", "classes", "log-normal", "3 percent")
SIZES = (64, 160, 256, 1024)


@dataclass(frozen=True)
class Sums:
    """The contribution of each sample of a population to sums per unit.

    Args:
        within: (sample, unit) Σ_j (a_ij − ā_i)².
        columns: (sample, element, unit) a_ij minus the mean of the population.
        total: (sample, unit) Σ_j of the squares of `columns`.
    """

    within: np.ndarray
    columns: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, population: Population) -> Sums:
        """Compute the contributions of all samples in float64."""
        orbit = population.responses[:, :ELEMENTS].astype(np.float64)
        orbit = orbit.reshape(*orbit.shape[:2], -1)
        centred = orbit - orbit.mean(axis=0)
        return cls(np.square(orbit - orbit.mean(1, keepdims=True)).sum(1), centred, np.square(centred).sum(1))

    def variances(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (replicate, unit) TV and SV of these samples, over all and without each group."""
        parts = self.within[samples], self.columns[samples], self.total[samples]
        within, columns, total = (_replicates(part) for part in parts)
        n = np.full(GROUPS + 1, len(samples) * (1 - 1 / GROUPS))[:, None]
        n[0] = len(samples)
        across = total - np.square(columns).sum(1) / n
        return within / n / (ELEMENTS - 1), across / (n - 1) / ELEMENTS


def _replicates(part: np.ndarray) -> np.ndarray:
    """Return (replicate, ...) sums over all samples and without each group; samples go to groups in turn."""
    groups = part.reshape(-1, GROUPS, *part.shape[1:]).sum(axis=0)
    whole = groups.sum(axis=0, keepdims=True)
    return np.concatenate([whole, whole - groups])


@dataclass(frozen=True)
class Draws:
    """Values of many draws with their replicates, and the effective number of samples.

    Args:
        mean, ratio: (draw, replicate) mean of TV/SV over units, and the ratio of mean TV to mean SV.
        decisive: (draw,) (Σd)²/Σd².
        reach: (draw,) factor by which intervals are widened because the d are uneven.
    """

    mean: np.ndarray
    ratio: np.ndarray
    decisive: np.ndarray
    reach: np.ndarray


def drawn(sums: Sums, samples: int, draws: int) -> Draws:
    """Draw this number of samples repeatedly, and return the values of all draws."""
    rng, contributions = np.random.default_rng((1, samples)), sums.within.sum(axis=1)
    means, ratios, decisive, reach = [], [], [], []
    for _ in range(draws):
        chosen = rng.integers(0, len(contributions), samples)
        along, across = sums.variances(chosen)
        means.append((along / across).mean(axis=1))
        ratios.append(along.mean(axis=1) / across.mean(axis=1))
        parts = contributions[chosen]
        total, squares = float(parts.sum()), float(np.square(parts).sum())
        decisive.append(total**2 / squares)
        reach.append(reach_of_uneven(samples, total, squares))
    return Draws(*map(np.array, (means, ratios, decisive, reach)))


def truths(sums: Sums) -> tuple[float, float]:
    """Return the mean of ratios and the ratio of means of the population."""
    along = sums.within.mean(axis=0) / (ELEMENTS - 1)
    across = sums.total.mean(axis=0) / ELEMENTS
    return float((along / across).mean()), float(along.mean() / across.mean())


def decisive_table(draws: int) -> Iterator[str]:
    """Yield a table of kinds and numbers of samples (rows) by values of DECISIVE (columns)."""
    yield f"| | samples | expected | plain | {' | '.join(map(str, BOUNDS))} |"
    yield "| --- | --- | --- | --- |" + " --- |" * len(BOUNDS)
    for kind in KINDS:
        sums = Sums.of(populations.simulated(kind))
        parts = sums.within.sum(axis=1)
        share, true = parts.mean() ** 2 / np.square(parts).mean(), truths(sums)
        for samples in SIZES:
            found = drawn(sums, samples, draws)
            for name, values, truth in zip(("mean", "ratio"), (found.mean, found.ratio), true, strict=True):
                hits = holds(values, truth, reach=found.reach)
                cells = [_cell(holds(values, truth), found.decisive >= 0)]
                cells += [_cell(hits, found.decisive >= bound) for bound in BOUNDS]
                yield f"| {kind}, {name} | {samples} | {share * samples:.1f} | {' | '.join(cells)} |"


def _cell(hits: np.ndarray, issued: np.ndarray) -> str:
    """Return coverage, draws with an interval, and draws with an interval that misses, in %."""
    if issued.sum() < 20:
        return f"– / {100 * issued.mean():.0f} / {100 * (issued & ~hits).mean():.1f}"
    return (
        f"{100 * hits[issued].mean():.1f} / {100 * issued.mean():.0f} / {100 * (issued & ~hits).mean():.1f}"
    )


def responding(share: float, *, units: int) -> Population:
    """Return a layer of rectified units that respond to this share of 20,000 samples at some element."""
    rng = np.random.default_rng(8)
    drive = 0.6 * rng.standard_normal((20_000, ELEMENTS, units), dtype=np.float32)
    drive += rng.standard_normal((20_000, 1, units), dtype=np.float32)
    level = np.quantile(drive[:, :, :3].max(axis=1), 1 - share).astype(np.float32)
    responses = np.maximum(drive - level, 0)
    return Population(responses, responses[:, :, :2], np.zeros(20_000, np.int64))


def rare_table(draws: int) -> Iterator[str]:
    """Yield a table of samples and units (rows) by the number of samples a unit responds to (columns)."""
    counts = (12, 16, 20, 25, 30, 40, 50)
    yield f"| samples | units | {' | '.join(map(str, counts))} |"
    yield "| --- | --- |" + " --- |" * len(counts)
    for samples in (64, 128, 256, 1024):
        for units in (36, 200):
            cells = [_rare_cell(count / samples, samples, units, draws) for count in counts]
            yield f"| {samples} | {units} | {' | '.join(cells)} |"


def _rare_cell(share: float, samples: int, units: int, draws: int) -> str:
    if share > 0.8:
        return ""
    sums = Sums.of(responding(share, units=units))
    hits = holds(drawn(sums, samples, draws).mean, truths(sums)[0])
    return f"{100 * hits.mean():.1f}"


def main() -> None:
    """Print both tables."""
    parser = command_line.parser(__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    arguments = parser.parse_args()
    tables = decisive_table(arguments.draws), rare_table(arguments.draws // 2)
    command_line.publish("\n\n".join("\n".join(table) for table in tables), arguments.out)


if __name__ == "__main__":
    main()
