"""Simulate the coverage of intervals that nest samples within training runs.

    python benchmarks/nested_coverage.py

Errors over training runs and over samples are normal, with a known ratio. Variances are estimated from K runs
and from the eight groups of the jackknife. Prints the share of 200,000 draws in which the interval of
`invariscope.lab.recipes.quantities.nested` (with Satterthwaite's degrees of freedom) covers the true value.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from invariscope.intervals import GROUPS, LEVEL

DRAWS = 200_000
RATIOS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 4.0)


def coverage(trainings: int, ratio: float, generator: np.random.Generator) -> float:
    """Return the share of intervals that cover the true value.

    Args:
        trainings: number of training runs, K.
        ratio: the error over samples divided by the error over training runs.
        generator: source of the draws.
    """
    freedom = np.array([trainings - 1, GROUPS - 1])
    true = np.array([1.0, ratio**2])
    found = true * generator.chisquare(freedom, (DRAWS, 2)) / freedom
    total = found.sum(axis=1)
    reach = special.stdtrit(total**2 / (found**2 / freedom).sum(axis=1), 0.5 + LEVEL / 2) * np.sqrt(total)
    return float(np.mean(np.abs(generator.normal(0, np.sqrt(true.sum()), DRAWS)) < reach))


def main() -> None:
    """Print one row per ratio of errors."""
    generator = np.random.default_rng(0)
    print("error over samples / over runs         K = 3    K = 5")
    for ratio in RATIOS:
        print(f"{ratio:34.1f}", *(f"{coverage(k, ratio, generator):8.3f}" for k in (3, 5)))


if __name__ == "__main__":
    main()
