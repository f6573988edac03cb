"""A network with layers of which some units are drawn, and the definition of estimates from them."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import stats
from torch import nn

import invariscope as iv
from invariscope.results.maps import DrawnMap

TURNS = iv.QuarterTurns()
N, DRAWN = 96, 256
LAYERS = ("0", "1", "2", "3")  # convolution, ReLU, convolution, and the second flattened


def network(seed=0):
    torch.manual_seed(seed)
    layers = (nn.Conv2d(2, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(8 * 144, 3)).eval()


def smooth_images():
    generator = torch.Generator().manual_seed(1)
    smooth = nn.functional.interpolate(torch.randn(N, 2, 4, 4, generator=generator), 12, mode="bilinear")
    return smooth + 0.1 * torch.randn(N, 2, 12, 12, generator=generator)


def measured(model, data, measures="normalized_variance", **options):
    return iv.measure(
        model,
        data,
        TURNS,
        measures=measures,
        **({"progress": False, "units": DRAWN, "rows": "all"} | options),
    )


def row_of(result, layer="0", measure="normalized_variance", stratum="all"):
    return next(
        row for row in result.rows if (row.layer, row.measure, row.stratum) == (layer, measure, stratum)
    )


def draw_of(result, layer="0", measure="normalized_variance", stratum="all"):
    found = result.arrays[measure, layer, stratum, 0]
    assert isinstance(found, DrawnMap)
    return found.draw


def by_definition(above, below, total):
    """The ratio of the sums, v₂ and its degrees of freedom, for two units per bin in their order."""
    bins, sums, parts = len(above) // 2, np.zeros(2), []
    sizes = [(h + 1) * total // bins - h * total // bins for h in range(bins)]
    for h, size in enumerate(sizes):
        sums += size * np.array([above[2 * h] + above[2 * h + 1], below[2 * h] + below[2 * h + 1]])
    ratio, mean = sums[0] / sums[1], sums[1] / (2 * total)
    for h, size in enumerate(sizes):
        first, second = ((above[u] - ratio * below[u]) / mean for u in (2 * h, 2 * h + 1))
        parts.append((size / total) ** 2 * (1 - 2 / size) * (first - second) ** 2 / 4)
    return ratio, sum(parts), 3 * sum(parts) ** 2 / sum(q * q for q in parts)


def interval(value, replicates, sizes, variance, freedom):
    """θ_J ± √(t₇² v₁ + t²_ν v₂) for groups of equal size."""
    assert len(set(sizes)) == 1
    pseudo = 8 * value - 7 * np.array(replicates)
    samples = pseudo.var(ddof=1) / 8
    half = math.sqrt(stats.t.ppf(0.975, 7) ** 2 * samples + stats.t.ppf(0.975, freedom) ** 2 * variance)
    return pseudo.mean() - half, pseudo.mean() + half
