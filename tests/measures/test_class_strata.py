"""A class inside a run is the class alone: values, maps, nulls and counts, whatever else is measured."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from test_every_measure import shape_of

from invariscope.measures.anova import GREENHOUSE_GEISSER, Anova
from invariscope.measures.base import LayerContext, UnitValues
from invariscope.measures.distances import (
    DISTANCES,
    NormalizedDistance,
    SampleDistance,
    TransformationDistance,
)
from invariscope.measures.variance import NormalizedVariance, SampleVariance, TransformationVariance
from invariscope.statistics.base import Block, Membership

GROUPS = 8
PRESETS = ("slides", "tmeasures", "quiroga2019", "quiroga2019_full")
MEASURES = [
    *(cls(spread=s) for cls in (TransformationVariance, SampleVariance) for s in ("variance", "std")),
    *(NormalizedVariance(preset=preset) for preset in PRESETS),
    NormalizedVariance(spread="std"),
    NormalizedVariance(norm="total"),
    NormalizedVariance(pool="ratio"),
    NormalizedVariance(pool="after"),
    Anova(),
    Anova(sphericity=GREENHOUSE_GEISSER),
    *(
        cls(distance=d)
        for cls in (TransformationDistance, SampleDistance, NormalizedDistance)
        for d in DISTANCES
    ),
]
SIZES = {0: 70, 1: 2, 2: 13, 3: 4, 4: 71}  # 64 samples and more make a window of the 2019 code


def classes(dtype, seed=0):
    """(sample, element, channel, row, column) responses and labels: classes far apart, of different size.

    In class 2 channel 0 is dead, unit (1, 0, 0) follows the element alone, and unit (1, 0, 1) is at its bias
    but for two samples.
    """
    rng = np.random.default_rng(seed)
    labels = np.repeat(list(SIZES), list(SIZES.values()))
    size = (len(labels), 4, 3, 2, 2)
    far = 10.0 ** rng.uniform(-1, 3, (len(SIZES), 1, 3, 2, 2)) * rng.choice([-1, 1], (len(SIZES), 1, 3, 2, 2))
    responses = far[labels] + 10.0 ** rng.uniform(-2, 0, (3, 2, 2)) * rng.normal(size=size)
    responses += rng.normal(size=(len(labels), 1, 3, 2, 2))
    mine = np.flatnonzero(labels == 2)
    responses[mine, :, 0] = 0.3
    responses[mine, :, 1, 0, 0] = [0.1, 0.2, 0.3, 0.4]
    responses[mine, :, 1, 0, 1] = 0.25
    responses[mine[[7, 9]], 1:3, 1, 0, 1] = 0.5
    mixed = rng.permutation(len(labels))
    return responses[mixed].astype(dtype), labels[mixed]


def blocks_of(responses, labels, names, size, *, nested, order, indices=None):
    """Blocks of so many samples in an order, counted as the engine counts them."""
    indices = np.arange(len(labels)) if indices is None else indices
    positions = {label: np.cumsum(labels == label) - 1 for label in np.unique(labels)}
    group = np.arange(len(labels)) // 2 % GROUPS
    strata = np.array([names[label] for label in labels.tolist()])
    if nested:
        buckets, numbers = (strata * GROUPS + group)[:, None], strata[:, None]
    else:
        buckets = np.stack([group, GROUPS + strata], axis=1)
        numbers = np.stack([np.zeros_like(strata), 1 + strata], axis=1)
    for few in np.split(order, range(size, len(order), size)):
        yield Block(
            values=torch.as_tensor(responses[few]).flatten(0, 1),
            samples=len(few),
            elements=responses.shape[1],
            sample_step=responses.shape[1],
            element_step=1,
            membership=Membership(buckets[few], numbers[few]),
            indices=indices[few],
            labels=torch.as_tensor(labels[few]),
            ranks=np.array([positions[labels[i]][i] for i in few]),
            sizes=np.array([SIZES[labels[i]] for i in few]),
            total=len(labels),
        )


def states_of(measure, blocks, buckets, *, shards=1, resume=False):
    """The states that a measure needs, from blocks dealt out to shards and merged."""
    found = []
    for statistic in dict.fromkeys(measure.statistics()):
        shares = []
        for share in range(shards):
            mine = list(itertools.islice(blocks, share, None, shards))
            state = statistic.init(mine[0], buckets=buckets)
            for number, block in enumerate(mine):
                statistic.update(state, block)
                if resume and number % 3 == 0:
                    arrays = {name: np.array(part) for name, part in statistic.pack(state).items()}
                    state = statistic.unpack(arrays)
            shares.append(state)
        whole = shares[0]
        for other in shares[1:]:
            whole = statistic.merge(whole, other)
        found.append((statistic, whole))
    return dict(found)


def values_of(measure, states, groups, shape):
    finals = [statistic.finalize(states[statistic], groups) for statistic in measure.statistics()]
    return measure.evaluate(tuple(finals), LayerContext("a", 0, shape))


def in_a_run(measure, responses, labels, wanted, *, names, size, nested, order, **walk):
    """A measure's values of some classes, from a run over all of them."""
    blocks = list(blocks_of(responses, labels, names, size, nested=nested, order=order))
    count = GROUPS * len(SIZES) if nested else GROUPS + len(SIZES)
    states = states_of(measure, blocks, count, **walk)
    found = {}
    for label in wanted:
        number = names[label]
        groups = [[number * GROUPS + g] for g in range(GROUPS)] if nested else [[GROUPS + number]]
        found[label] = values_of(measure, states, groups, shape_of(responses))
    return found


def alone(measure, responses, labels, label):
    """The measure's values of one class, from a run over it alone."""
    mine = np.flatnonzero(labels == label)
    own = {"nested": True, "order": np.arange(len(mine)), "indices": mine}
    blocks = list(blocks_of(responses[mine], labels[mine], {label: 0}, 7, **own))
    states = states_of(measure, blocks, GROUPS)
    return values_of(measure, states, [list(range(GROUPS))], shape_of(responses))


def assert_same(found, expected, tolerance):
    for output, right in expected.items():
        value = found[output]
        np.testing.assert_allclose(value.values[0], right.values[0], rtol=tolerance, atol=tolerance**2)
        if right.null is not None:
            np.testing.assert_allclose(value.null, right.null, rtol=tolerance, equal_nan=True)
        if isinstance(right, UnitValues):
            counts = [(part.dead, part.sparse, part.infinite, part.units) for part in (value, right)]
            assert counts[0] == counts[1]
            assert (value.counted == right.counted).all()
            layer = [part.layer_values()[0] for part in (value, right)]
            np.testing.assert_allclose(*layer, rtol=tolerance)
            if right.ratio is not None:
                np.testing.assert_allclose(value.ratio[0], right.ratio[0], rtol=tolerance)


WALKS = [
    {"size": 7, "nested": True, "names": [0, 1, 2, 3, 4], "order": "stored"},
    {"size": 16, "nested": False, "names": [3, 0, 4, 2, 1], "order": "by class"},
    {"size": 3, "nested": True, "names": [4, 3, 2, 1, 0], "order": "reversed", "shards": 3},
    {"size": 32, "nested": False, "names": [1, 2, 3, 4, 0], "order": "stored", "resume": True, "shards": 2},
]
TOLERANCES = {np.float32: 1e-6, np.float64: 1e-12}


def ordered(labels, how):
    stored = np.arange(len(labels))
    orders = {"stored": stored, "reversed": stored[::-1], "by class": np.argsort(labels, kind="stable")}
    return orders[how]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_a_class_inside_a_run_is_the_class_alone(measure, dtype):
    responses, labels = classes(dtype)
    right = {label: alone(measure, responses, labels, label) for label in SIZES}
    for walk in WALKS:
        order = ordered(labels, walk["order"])
        names = dict(enumerate(walk["names"]))
        found = in_a_run(measure, responses, labels, SIZES, **walk | {"order": order, "names": names})
        for label in SIZES:
            assert_same(found[label], right[label], TOLERANCES[dtype])
