"""How few samples may decide a value that still has an interval, and how rarely units may respond?

    python -m benchmarks.decisive [--draws 2000] [--out FILE]

Two rules leave values without an interval: DECISIVE, the least (Σd)²/Σd² of what samples add to a layer's
variance along orbits, and RARE, the least number of samples for which half of the units leave their usual
response. Both are switched off here. The first table counts draws with an interval, intervals that hold the
true value, and intervals that miss, by what DECISIVE could be; the second has layers of units that all
respond to the same share of samples, and the coverage of the mean of their ratios.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special

from benchmarks import populations
from benchmarks.populations import ELEMENTS, Population
from invariscope.intervals import GROUPS
from invariscope.measures.interval_limits import reach_of_uneven

BOUNDS = (0, 5, 6, 7, 8, 10, 12)
KINDS = ("relu", "linear", "heavy", "classes", "log-normal", "3 percent")
SIZES = (64, 160, 256, 1024)
_QUANTILE = float(special.stdtrit(GROUPS - 1, 0.975))


@dataclass(frozen=True)
class Sums:
    """What each sample of a population adds, by unit.

    Args:
        within: (sample, unit) Σ_j (a_ij − ā_i)².
        columns: (sample, element, unit) a_ij, around the population's mean.
        total: (sample, unit) Σ_j of its square.
    """

    within: np.ndarray
    columns: np.ndarray
    total: np.ndarray

    @classmethod
    def of(cls, population: Population) -> Sums:
        """Of all samples, in float64."""
        orbit = population.responses[:, :ELEMENTS].astype(np.float64)
        orbit = orbit.reshape(*orbit.shape[:2], -1)
        centred = orbit - orbit.mean(axis=0)
        return cls(np.square(orbit - orbit.mean(1, keepdims=True)).sum(1), centred, np.square(centred).sum(1))

    def variances(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(replicate, unit) TV and SV: of these samples, dealt to groups in turn, and without each group."""
        parts = self.within[samples], self.columns[samples], self.total[samples]
        within, columns, total = (_replicates(part) for part in parts)
        n = np.full(GROUPS + 1, len(samples) * (1 - 1 / GROUPS))[:, None]
        n[0] = len(samples)
        across = total - np.square(columns).sum(1) / n
        return within / n / (ELEMENTS - 1), across / (n - 1) / ELEMENTS


def _replicates(part: np.ndarray) -> np.ndarray:
    """(replicate, ...) sums of all, and without each group."""
    groups = part.reshape(-1, GROUPS, *part.shape[1:]).sum(axis=0)
    whole = groups.sum(axis=0, keepdims=True)
    return np.concatenate([whole, whole - groups])


def holds(values: np.ndarray, truth: float, *, reach: np.ndarray | float = 1.0) -> np.ndarray:
    """Whether the jackknife interval of (draw, replicate) values of equal groups holds the true value."""
    omitted = values[:, 1:]
    centre = GROUPS * values[:, 0] - (GROUPS - 1) * omitted.mean(axis=1)
    spread = np.square(omitted - omitted.mean(axis=1, keepdims=True)).mean(axis=1)
    return np.abs(centre - truth) <= reach * _QUANTILE * np.sqrt((GROUPS - 1) * spread)


@dataclass(frozen=True)
class Draws:
    """Of many draws: values with those that leave out a group, and how many samples decide.

    Args:
        mean, ratio: (draw, replicate) mean of TV/SV over units, and the ratio of mean TV to mean SV.
        decisive: (draw,) (Σd)²/Σd².
        reach: (draw,) how many times as wide intervals are because the d are uneven.
    """

    mean: np.ndarray
    ratio: np.ndarray
    decisive: np.ndarray
    reach: np.ndarray


def drawn(sums: Sums, samples: int, draws: int) -> Draws:
    """Draws of so many samples."""
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
    """The population's mean of ratios and ratio of means."""
    along = sums.within.mean(axis=0) / (ELEMENTS - 1)
    across = sums.total.mean(axis=0) / ELEMENTS
    return float((along / across).mean()), float(along.mean() / across.mean())


def decisive_table(draws: int) -> Iterator[str]:
    """Lines: kinds and numbers of samples. Columns: what DECISIVE could be."""
    yield f"| | samples | expected | as narrow, 0 | {' | '.join(map(str, BOUNDS))} |"
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
    """Coverage in %, of how many % of draws, and how many % have an interval that misses."""
    if issued.sum() < 20:
        return f"– / {100 * issued.mean():.0f} / {100 * (issued & ~hits).mean():.1f}"
    return (
        f"{100 * hits[issued].mean():.1f} / {100 * issued.mean():.0f} / {100 * (issued & ~hits).mean():.1f}"
    )


def responding(share: float, *, units: int) -> Population:
    """A layer of rectified units that respond to this share of 20,000 samples at one element or more."""
    rng = np.random.default_rng(8)
    drive = 0.6 * rng.standard_normal((20_000, ELEMENTS, units), dtype=np.float32)
    drive += rng.standard_normal((20_000, 1, units), dtype=np.float32)
    level = np.quantile(drive[:, :, :3].max(axis=1), 1 - share).astype(np.float32)
    responses = np.maximum(drive - level, 0)
    return Population(responses, responses[:, :, :2], np.zeros(20_000, np.int64))


def rare_table(draws: int) -> Iterator[str]:
    """Lines: numbers of samples and units. Columns: to how many samples a unit responds."""
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
    """Prints both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = []
    for part in (decisive_table(arguments.draws), rare_table(arguments.draws // 2)):
        for line in part:
            print(line, flush=True)
            lines.append(line)
        lines.append("")
    if arguments.out:
        arguments.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
