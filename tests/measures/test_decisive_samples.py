"""There is no interval if a few samples determine how far the transformation moves a layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.block import Block, Membership
from invariscope.measures.values import LayerContext

DECIDED = [
    iv.TransformationVariance(),
    iv.NormalizedVariance(),
    iv.NormalizedVariance(preset="tmeasures"),
    iv.Anova(),
    *(iv.NormalizedDistance(distance=kind) for kind in ("sqeuclidean", "cosine")),
]


def block(few, size=64):
    """Responses in which a few samples move 50 times as far as the others."""
    responses = np.random.default_rng(0).normal(size=(size, 4, 6))
    responses += 20 * np.random.default_rng(1).normal(size=(size, 1, 6))
    responses[:few] += 50 * np.random.default_rng(2).normal(size=(few, 4, 6))
    return Block(
        values=torch.from_numpy(responses).flatten(0, 1),
        samples=size,
        elements=4,
        sample_step=4,
        element_step=1,
        membership=Membership(np.arange(size)[:, None] // 4 % 8),  # each cluster is in one group
        indices=np.arange(size),
    )


def reasons(measure, given):
    finals = []
    for statistic in measure.statistics():
        state = statistic.init(given, buckets=8)
        statistic.update(state, given)
        finals.append(statistic.finalize(state, [[g] for g in range(8)]))
    found = measure.evaluate(tuple(finals), LayerContext("a", 0, (6,)))
    return {name: part for name, part in found.items() if name in ("", "share_residual")}.popitem()[1]


@pytest.mark.parametrize("measure", DECIDED, ids=repr)
def test_a_value_that_two_samples_decide_has_no_interval(measure):
    found = reasons(measure, block(2))
    assert "samples decide the value" in found.uncovered
    if getattr(found, "ratio", None) is not None:
        assert np.isfinite(found.ratio[0])
        assert np.isnan(found.ratio[1:]).all()
    assert "decide" not in reasons(measure, block(0)).uncovered


def test_what_samples_alone_decide_is_not_withheld():
    assert "decide" not in reasons(iv.SampleVariance(), block(2)).uncovered
    assert "decide" not in reasons(iv.SampleDistance(), block(2)).uncovered


@pytest.mark.parametrize("measure", DECIDED, ids=repr)
def test_clusters_decide_where_there_are_any(measure):
    """Sixteen samples that move far are enough, unless they form only four clusters."""
    many = block(16)
    assert "decide" not in reasons(measure, many).uncovered
    clustered = replace(many, clusters=np.arange(64) // 4)
    assert "samples decide the value" in reasons(measure, clustered).uncovered


def test_a_row_whose_value_few_decide_says_so_and_has_no_interval():
    x = torch.randn(96, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    x[:3] *= 100
    result = iv.measure(
        nn.Flatten(), x, iv.QuarterTurns(), measures=[iv.NormalizedVariance(), iv.Stability()], progress=False
    )
    for row in result.rows:
        if row["measure"] in ("normalized_variance", "stability.D", "stability.G", "stability.R"):
            assert np.isnan(row["ci_low"])
            assert "samples decide the value" in row["note"]
            assert np.isnan(row.get("ratio_low", np.nan))
