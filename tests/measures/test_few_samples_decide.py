"""Values that depend on few samples have no interval; those of uneven samples have wider ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.intervals import DECISIVE
from invariscope.measures.interval_limits import reach_of_uneven
from invariscope.measures.variance_parts import rare_below

pytestmark = pytest.mark.usefixtures("seeded")

MEASURES = (
    iv.TransformationVariance(),
    iv.NormalizedVariance(),
    iv.NormalizedVariance(pool="ratio"),
    iv.Anova(),
    iv.TransformationDistance(),
    iv.NormalizedDistance(distance="euclidean"),
    iv.Stability(),
)
TOLD = "samples decide the value"


def images(*, far, times=1):
    """128 images of equal norm, the first ones scaled by `far`; each of them `times` times."""
    drawn = torch.randn(128, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    drawn /= drawn.flatten(1).norm(dim=1)[:, None, None, None]
    drawn[: len(far)] *= torch.tensor(far)[:, None, None, None]
    return drawn.repeat_interleave(times, 0)


def rows_of(x, measure, **options):
    """The rows of the input's own pixels that have an interval or a reason for having none."""
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(16, 2)).eval()
    found = iv.measure(net, x, iv.QuarterTurns(), measures=[measure], layers="0", progress=False, **options)
    shared = {"F", "p", "F_oneway", "rejecting"}
    return [row for row in found.rows if not any(word in row["measure"].split(".")[-1] for word in shared)]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_a_value_that_few_samples_decide_has_no_interval_and_says_why(measure):
    decided = rows_of(images(far=[1000.0] * 3), measure)
    assert all(np.isnan(row["ci_low"]) and TOLD in row["note"] for row in decided)
    assert all(np.isnan(row.get("ratio_low", np.nan)) for row in decided)
    even = rows_of(images(far=[]), measure)
    assert all(np.isfinite(row["ci_low"]) and "reach" not in row for row in even)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda m: m.name)
def test_where_uneven_samples_decide_a_value_its_interval_is_wider(measure):
    for row in rows_of(images(far=[30.0] * 8), measure):
        assert np.isfinite(row["ci_low"]), row
        assert row["reach"] > 1.3
        assert row["ci_low"] <= row["corrected"] <= row["ci_high"]


def test_copies_count_once_where_clusters_are_given():
    few = images(far=[1000.0] * 2, times=4)  # eight of the samples, two of the clusters
    assert DECISIVE > 2
    alone = rows_of(few, iv.TransformationVariance())
    together = rows_of(few, iv.TransformationVariance(), clusters=np.arange(512) // 4)
    assert np.isfinite(alone[0]["ci_low"])
    assert np.isnan(together[0]["ci_low"])
    assert TOLD in together[0]["note"]


def test_the_widening_is_that_of_the_parts_evenness():
    parts = np.array([30.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    even = parts.sum() ** 2 / len(parts) / (parts**2).sum()
    assert even < 0.3
    assert reach_of_uneven(8, parts.sum(), (parts**2).sum()) == pytest.approx(1 + 5 * (0.3 - even))
    assert reach_of_uneven(8, 0.0, 0.0) == 1.0


@pytest.mark.parametrize(
    ("samples", "responding", "issued"), [(64, 20, False), (64, 24, True), (256, 48, False)]
)
def test_the_mean_over_units_needs_a_third_of_few_samples_or_fifty_of_many(samples, responding, issued):
    x = images(far=[])[:1].repeat(samples, 1, 1, 1) * 0
    x[:responding] = torch.randn(responding, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    (row,) = rows_of(x, iv.NormalizedVariance())
    assert np.isfinite(row["ci_low"]) == issued
    assert np.isfinite(row["ratio_low"])
    assert (f"fewer than {rare_below(samples):.0f} samples" in row.get("note", "")) != issued
