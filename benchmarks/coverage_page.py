"""Create the page of `benchmarks.coverage`, with the requirement for each kind of data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LOW, HIGH, ISSUED, MISSED = 0.92, 0.97, 0.90, 0.08
FEW = 20  # coverage is not shown for fewer intervals


@dataclass
class Tally:
    """The numbers of draws, of issued intervals, and of intervals that cover the true value."""

    draws: int = 0
    issued: int = 0
    hits: int = 0

    def add(self, hit: bool | None) -> None:
        """Count a draw; None means that no interval was issued."""
        self.add_all(1, int(hit is not None), int(bool(hit)))

    def add_all(self, draws: int, issued: int, hits: int) -> None:
        """Count several draws."""
        self.draws += draws
        self.issued += issued
        self.hits += hits

    @property
    def coverage(self) -> float:
        """The share of intervals that cover the true value."""
        return self.hits / max(self.issued, 1)

    @property
    def missing(self) -> float:
        """The share of draws with an interval that misses the true value."""
        return (self.issued - self.hits) / max(self.draws, 1)

    def __str__(self) -> str:
        if not self.issued:
            return "none"
        issued = 100 * self.issued / self.draws
        share = "–" if self.issued < FEW else f"{100 * self.coverage:.1f}"
        return f"{share} / {issued:.0f} / {100 * self.missing:.1f}"


Tallies = dict[tuple[str, str], Tally]


@dataclass(frozen=True)
class Section:
    """A kind of data, and the requirement for its intervals.

    Args:
        title, text: heading and description.
        asked: "coverage" (92 to 97 %, 90 % issued), "misses" (at most 8 % of draws) or "" (nothing).
        least: smallest number of samples for which it is required.
    """

    title: str
    text: str
    asked: str = ""
    least: int = 0


SECTIONS: dict[str, Section] = {
    "relu": Section(
        "Rectified units", "Rectified units with independent normal drives; two classes.", "coverage"
    ),
    "linear": Section("Linear units", "The same units without rectification.", "coverage"),
    "classes": Section(
        "Ten classes of different sensitivity",
        "Rectified units. Depending on the class, responses differ 0.3 to 3 times as much between elements "
        "as between samples. Values are over all samples.",
        "coverage",
    ),
    "sorted": Section(
        "Sorted by class",
        "The same ten classes, stored one after the other. Groups are assigned by rank.",
        "coverage",
    ),
    "sorted, dealt": Section(
        "Sorted by class, groups along the file",
        "For comparison only: pairs of neighbours in the file go to the eight groups in turn. Every group "
        "then has the same share of each class, and intervals are too narrow.",
    ),
    "correlated": Section(
        "Correlated units",
        "36 rectified units are driven by 10 factors, both across samples and along orbits.",
        "coverage",
    ),
    "copies, clusters=": Section(
        "Clusters of 4 near-copies, with clusters=",
        "Copies differ by a tenth of a standard deviation. 64 samples form only 16 clusters, which are too "
        "few for intervals.",
        "coverage",
        256,
    ),
    "copies": Section(
        "Clusters of 4 near-copies, without clusters=",
        "The same data without declaring the clusters: intervals are half as wide as they should be.",
    ),
    "real maps": Section(
        "Real activations: maps",
        "The first 4 channels (7 × 7 units each) of `relu5` in a SimpleConv under quarter turns (8 filters; "
        "three epochs on 20,000 MNIST images; 96 % accuracy). True values are those of 8,000 test images.",
        "coverage",
    ),
    "real vector": Section(
        "Real activations: a vector", "All 64 units of `fc1_relu` in the same network.", "coverage"
    ),
    "heavy": Section(
        "Heavy-tailed units",
        "Differences between samples follow Student's t with 5 degrees of freedom.",
        "misses",
    ),
    "log-normal": Section(
        "Log-normal sensitivity",
        "Linear units. Responses to a sample change exp(z) times as much along its orbit, where z is "
        "standard normal. The expected effective number of samples is 2 of 64, 8.5 of 256 and 34 of 1,024; "
        "nothing is required below five.",
        "misses",
        256,
    ),
    "3 percent": Section(
        "3 % of samples are 20 times as sensitive",
        "Linear units. The expected effective number of samples is 2 of 64, 9 of 256 and 35 of 1,024; "
        "nothing is required below five. Of the draws of 64 samples, 14 % contain no sensitive sample, "
        "which cannot be detected from the draw.",
        "misses",
        256,
    ),
    "mixed": Section(
        "Half of the units respond rarely",
        "Half of the units respond to between 1 in 5 and 1 in 120 untransformed samples.",
        "misses",
    ),
    "sparse": Section(
        "All units respond rarely",
        "All units respond to between 1 in 5 and 1 in 120 untransformed samples.",
        "misses",
    ),
}


def wrong(section: Section, size: int, tally: Tally) -> str:
    """Return how a cell misses its requirement; "" if it does not."""
    if not section.asked or size < section.least:
        return ""
    if section.asked == "misses":
        return "missing" if tally.missing > MISSED else ""
    if tally.issued < ISSUED * tally.draws:
        return "issued"
    return "" if LOW <= tally.coverage <= HIGH else ("below" if tally.coverage < LOW else "above")


_HEADER = """# Coverage of intervals

This page, written by `python -m benchmarks.coverage`, shows how often 95 % intervals cover the population's
value. Each cell shows three numbers in %: coverage among the issued intervals / draws with an interval /
draws with an interval that misses. **Bold** cells miss the requirement for that kind of data. With {draws}
draws per cell, a coverage of 95 % has a standard error of {error:.1f} percentage points. Samples are drawn
with replacement from a population with known values, and grouped as in the engine. `normalized_distance`
equals the ratio of means of `normalized_variance`, and `consistency.untransformed` is the complement of
`prediction.flips`, so
they are not shown twice. `worst_element.tail`, maxima and positions never have an interval."""


def page(found: Mapping[tuple[str, int], Tallies]) -> str:
    """Return the page, with an explanation, a summary, and a table per kind of data."""
    kinds = [kind for kind in SECTIONS if any(kind == known for known, _ in found)]
    draws = min(tally.draws for tallies in found.values() for tally in tallies.values())
    header = _HEADER.format(draws=f"{draws:,}", error=100 * (0.95 * 0.05 / draws) ** 0.5)
    parts = [header, summary(found, kinds)]
    for kind in kinds:
        section = SECTIONS[kind]
        parts.append(f"## {section.title}\n\n{section.text}\n\n{table(kind, found)}")
    return "\n\n".join(parts)


def summary(found: Mapping[tuple[str, int], Tallies], kinds: list[str]) -> str:
    """Return a table of kinds by the number of cells that miss the requirement in each way."""
    lines = [
        "| data | required | cells | below 92 % | above 97 % | under 90 % issued | over 8 % miss |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind in kinds:
        ways = list(_ways(kind, found))
        counts = [ways.count(way) or "" for way in ("below", "above", "issued", "missing")]
        asked = {"coverage": "92–97 %", "misses": "≤ 8 % miss", "": "nothing"}[SECTIONS[kind].asked]
        lines.append(f"| {SECTIONS[kind].title} | {asked} | {len(ways)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def _ways(kind: str, found: Mapping[tuple[str, int], Tallies]) -> Iterator[str]:
    for (known, size), tallies in found.items():
        if known == kind:
            yield from (wrong(SECTIONS[kind], size, tally) for tally in tallies.values())


def table(kind: str, found: Mapping[tuple[str, int], Tallies]) -> str:
    """Return a table of measures and outputs (rows) by numbers of samples (columns)."""
    sizes = sorted({size for known, size in found if known == kind})
    rows = dict.fromkeys(key for (known, _), t in found.items() if known == kind for key in t)
    lines = [f"| | {' | '.join(f'{size:,}' for size in sizes)} |", "| --- |" + " --- |" * len(sizes)]
    for name, output in rows:
        cells = [_cell(kind, size, found[kind, size].get((name, output))) for size in sizes]
        lines.append(f"| {f'{name} {output}'.strip()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(kind: str, size: int, tally: Tally | None) -> str:
    if tally is None:
        return ""
    return f"**{tally}**" if wrong(SECTIONS[kind], size, tally) else str(tally)
