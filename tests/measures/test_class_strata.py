"""A class within a run gives the same values, maps, nulls and counts as a run over the class alone."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.block import Block, Membership
from invariscope.measures.anova import GREENHOUSE_GEISSER, Anova
from invariscope.measures.distances import (
    DISTANCES,
    NormalizedDistance,
    SampleDistance,
    TransformationDistance,
)
from invariscope.measures.values import LayerContext, UnitValues
from invariscope.measures.variance import NormalizedVariance, SampleVariance, TransformationVariance

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
SHAPE = (3, 2, 2)
SIZES = {0: 70, 1: 2, 2: 13, 3: 4, 4: 71}  # at least 64 samples are needed for a window of the 2019 code


def classes(dtype, seed=0):
    """(sample, element, channel, row, column) responses and labels: distant classes of different sizes.

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
    """Blocks of this many samples in a given order, counted as the engine counts them."""
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
            positions=np.array([positions[labels[i]][i] for i in few]),
            sizes=np.array([SIZES[labels[i]] for i in few]),
            total=len(labels),
        )


def state_of(statistic, blocks, buckets, *, shards=1, resume=False):
    """A statistic's state from blocks distributed over shards and merged."""
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
    return functools.reduce(statistic.merge, shares)


def states_of(measure, blocks, buckets):
    return {statistic: state_of(statistic, blocks, buckets) for statistic in measure.statistics()}


def values_of(measure, states, groups, shape):
    finals = [statistic.finalize(states[statistic], groups) for statistic in measure.statistics()]
    return measure.evaluate(tuple(finals), LayerContext("a", 0, shape))


@functools.cache
def walked(statistic, dtype, walk):
    """The state of a run over all classes."""
    responses, labels = classes(dtype)
    walk = dict(walk)
    names, order = dict(enumerate(walk.pop("names"))), ordered(labels, walk.pop("order"))
    size, nested = walk.pop("size"), walk.pop("nested")
    blocks = list(blocks_of(responses, labels, names, size, nested=nested, order=order))
    return state_of(statistic, blocks, buckets_of(nested), **walk)


def buckets_of(nested):
    return GROUPS * len(SIZES) if nested else GROUPS + len(SIZES)


@functools.cache
def walked_alone(statistic, dtype, label):
    """The state of a run over one class."""
    responses, labels = classes(dtype)
    mine = np.flatnonzero(labels == label)
    own = {"nested": True, "order": np.arange(len(mine)), "indices": mine}
    blocks = list(blocks_of(responses[mine], labels[mine], {label: 0}, 7, **own))
    return state_of(statistic, blocks, GROUPS)


def in_a_run(measure, dtype, label, walk):
    """A measure's values for a class, from a run over all classes."""
    number = walk["names"][label]
    nested = walk["nested"]
    groups = [[number * GROUPS + g] for g in range(GROUPS)] if nested else [[GROUPS + number]]
    if SIZES[label] < 64:  # without intervals, as the engine does
        groups = [[bucket for group in groups for bucket in group]]
    key = tuple(walk.items())
    states = {statistic: walked(statistic, dtype, key) for statistic in measure.statistics()}
    return values_of(measure, states, groups, SHAPE)


def alone(measure, dtype, label):
    """The measure's values for one class, from a run over it alone."""
    states = {statistic: walked_alone(statistic, dtype, label) for statistic in measure.statistics()}
    return values_of(measure, states, [list(range(GROUPS))], SHAPE)


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
    {"size": 7, "nested": True, "names": (0, 1, 2, 3, 4), "order": "stored"},
    {"size": 16, "nested": False, "names": (3, 0, 4, 2, 1), "order": "by class"},
    {"size": 3, "nested": True, "names": (4, 3, 2, 1, 0), "order": "reversed", "shards": 3},
    {"size": 32, "nested": False, "names": (1, 2, 3, 4, 0), "order": "stored", "resume": True, "shards": 2},
]
TOLERANCES = {np.float32: 1e-6, np.float64: 1e-12}


def ordered(labels, how):
    stored = np.arange(len(labels))
    orders = {"stored": stored, "reversed": stored[::-1], "by class": np.argsort(labels, kind="stable")}
    return orders[how]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_a_class_inside_a_run_is_the_class_alone(measure, dtype):
    for label in SIZES:
        right = alone(measure, dtype, label)
        for walk in WALKS:
            assert_same(in_a_run(measure, dtype, label, walk), right, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_classes_equal_the_definition_and_degenerate_units_are_told_apart(dtype):
    responses, labels = classes(dtype)
    measure = NormalizedVariance()
    for label in SIZES:
        values = in_a_run(measure, dtype, label, WALKS[1])[""].values[0]
        alive = np.isfinite(values)
        with np.errstate(divide="ignore", invalid="ignore"):
            right = measure.oracle(responses[labels == label].astype(np.float64), None)[""]
        np.testing.assert_allclose(values[alive], right[alive], rtol=1e3 * TOLERANCES[dtype])
        assert alive.all() == (label != 2)
    odd = in_a_run(measure, dtype, 2, WALKS[1])[""]
    assert np.isnan(odd.values[0, 0]).all()
    assert np.isposinf(odd.values[0, 1, 0, 0])
    assert (odd.dead, odd.infinite, odd.sparse) == (4, 1, 1)
    assert not odd.counted[1, 0].any()


@pytest.mark.parametrize("nested", [True, False])
def test_all_samples_together_do_not_depend_on_how_classes_are_walked(nested):
    responses, labels = classes(np.float64)
    measure, names = NormalizedVariance(), dict(enumerate(range(len(SIZES))))
    order = np.arange(len(labels))
    blocks = list(blocks_of(responses, labels, names, 9, nested=nested, order=order))
    members = [[s * GROUPS + g for s in range(len(SIZES) if nested else 1)] for g in range(GROUPS)]
    found = values_of(measure, states_of(measure, blocks, buckets_of(nested)), members, SHAPE)[""]
    np.testing.assert_allclose(found.values[0], measure.oracle(responses, None)[""], rtol=1e-11)
    for g in (0, 5):
        rest = responses[np.arange(len(labels)) // 2 % GROUPS != g]
        np.testing.assert_allclose(found.values[1 + g], measure.oracle(rest, None)[""], rtol=1e-11)


def test_a_unit_that_is_sparse_in_all_classes_is_sparse_in_all_samples_unless_its_usual_responses_differ():
    labels = np.arange(80) % 2
    responses = np.random.default_rng(0).normal(size=(80, 3, 3))
    responses[:, :, 1:] = 0.5
    responses[labels == 1, :, 2] = 0.75
    responses[[13, 18], 1, 1:] = 2.0
    blocks = list(blocks_of_two(responses, labels))
    states = states_of(NormalizedVariance(), blocks, 3)
    both, first = (values_of(NormalizedVariance(), states, groups, (3,))[""] for groups in ([[1, 2]], [[1]]))
    assert both.counted.tolist() == [True, False, True]
    assert first.counted.tolist() == [True, False, False]


def blocks_of_two(responses, labels):
    """Blocks of nine samples, a bucket per class, and one for what is unusual among all samples."""
    for few in np.split(np.arange(len(labels)), range(9, len(labels), 9)):
        yield Block(
            values=torch.as_tensor(responses[few]).flatten(0, 1),
            samples=len(few),
            elements=responses.shape[1],
            sample_step=responses.shape[1],
            element_step=1,
            membership=Membership(1 + labels[few, None], 1 + labels[few, None], 3, overall=True),
            indices=few,
        )


def net(dtype):
    """A float32 model without arithmetic, whose rounding would depend on the batch."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5)]
    return nn.Sequential(*(layers if dtype == torch.float64 else layers[1:3])).to(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_measuring_by_class_gives_what_measuring_the_class_gives(dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 1, 8, 8, generator=generator, dtype=dtype)
    y = torch.randint(0, 4, (60,), generator=generator)
    x[:, :, :3, :3] = 0  # dead where no rotation brings content
    x *= 1 + 9 * y[:, None, None, None]
    measures = [
        iv.NormalizedVariance(),
        iv.NormalizedVariance(preset="tmeasures"),
        iv.Anova(),
        iv.NormalizedDistance(),
    ]
    shared = {"precision": str(dtype).removeprefix("torch."), "progress": False}
    for names, batch in (([0, 1, 2, 3], "auto"), ([2, 0, 3, 1], 12)):
        renamed = torch.tensor(names)[y]
        for measure in measures:
            options = shared | {"measures": measure}
            run = iv.measure(
                net(dtype), (x, renamed), iv.QuarterTurns(), by_class=True, batch_size=batch, **options
            ).table
            for label in (0, 3):
                single = iv.measure(net(dtype), x[y == label], iv.QuarterTurns(), **options).table
                own = run[run.stratum == str(names[label])].reset_index(drop=True)
                for column in ("value", "value_ratio", "null", "dead_units", "sparse_units", "samples"):
                    if column in single:
                        np.testing.assert_allclose(own[column], single[column], rtol=tolerance, atol=1e-30)


def test_sparse_units_follow_the_samples_and_neither_the_names_nor_what_else_is_measured():
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(40, 200, generator=generator) < 0.15).double()
    y = np.arange(40) // 20
    same = [lambda batch: batch, lambda batch: batch.clone()]

    def counts(inputs, labels=None, extra=(), **options):
        data = inputs if labels is None else (inputs, labels)
        measures = ["normalized_variance", *extra]
        shared = {"by_class": labels is not None, "precision": "float64", "progress": False}
        table = iv.measure(nn.Sequential(nn.ReLU()), data, same, measures=measures, **shared | options).table
        table = table[table.measure == "normalized_variance"]
        return table[table.stratum != "mean"].sparse_units.astype(int).tolist()

    alone = [count for part in (x, x[:20], x[20:]) for count in counts(part)]
    assert 0 < min(alone[1:]) < max(alone) < 200
    assert counts(x, y) == counts(x, y, batch_size=6) == counts(x, y, ("equivariance_deviation",)) == alone
    assert counts(x, np.array(["b", "a"])[y]) == [alone[0], alone[2], alone[1]]
    assert counts(x, y, intervals=False)[1:] == alone[1:]
