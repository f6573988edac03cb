"""Requirements on every measure. New measures are tested without edits here: they supply their own cases."""

from __future__ import annotations

import inspect
import itertools
import re

import numpy as np
import pytest
import torch

from invariscope.block import Block, Membership, NotApplicableError
from invariscope.engine.feature_motion import acting_elements
from invariscope.measures.base import MEASURES, as_measures
from invariscope.measures.values import CurveValues, ElementValues, LayerContext, LayerValues, UnitValues
from invariscope.statistics.pairs import partners
from invariscope.statistics.probes import EqualNoise, TowardNeighbour, Untransformed
from invariscope.transforms import QuarterTurns

CLASSES = sorted(MEASURES.classes().items())
INSTANCES = [pytest.param(m, id=f"{name}-{i}") for name, cls in CLASSES for i, m in enumerate(cls.examples())]
# If a group is left out, a pilot's thresholds still come from all samples; such measures have other tests.
WITHOUT_PILOT = [p for p in INSTANCES if not any(s.pilot for s in p.values[0].statistics())]
ALL = ((0,),)
ANSWERS = [
    pytest.param(cls, answer, id=f"{name}-{i}")
    for name, cls in CLASSES
    for i, answer in enumerate(cls.known_answers())
]


def final_values(measure, activations, labels=None, **feeding):
    """The measure's values through its statistics; see `finals_of`."""
    return measure.evaluate(
        finals_of(measure, activations, labels, **feeding),
        LayerContext("layer", 0, shape_of(activations), identity=0),
    )


def shape_of(activations):
    return tuple(np.shape(activations)[2:])


def finals_of(measure, activations, labels=None, *, parts=(), merge_at=None, groups=((0,),), **given):
    """Final statistics of activations fed in blocks that end at `parts`, optionally merged from two states.

    `given`: buckets and indices of the samples; by default one bucket, and their positions. `paired`:
    each sample has a partner, in its block.
    """
    edges = sorted({0, *parts, len(activations)} | ({merge_at} if merge_at else set()))
    probes = columns_behind(measure, np.shape(activations)[1])
    blocks = [
        block_of(activations, labels, lo, hi, probes=probes, **given) for lo, hi in itertools.pairwise(edges)
    ]
    alone = [
        block_of(np.asarray(activations)[:, :1], labels, lo, hi, **given)
        for lo, hi in itertools.pairwise(edges)
    ]
    return tuple(
        final_of(statistic, blocks, alone, groups, edges.index(merge_at) if merge_at else None)
        for statistic in measure.statistics()
    )


def final_of(statistic, blocks, alone, groups, cut):
    """The final value of a statistic, from one state or from two that are merged at block number `cut`."""
    pilot = None if statistic.pilot is None else final_of(statistic.pilot, alone, alone, ALL, None)
    states = []
    for number, block in enumerate(blocks):
        if number in (0, cut):
            states.append(statistic.init(block, buckets=max(map(max, groups)) + 1, pilot=pilot))
        statistic.update(states[-1], block)
    whole = states[0] if len(states) == 1 else statistic.merge(*states)
    return statistic.finalize(whole, [list(group) for group in groups])


def columns_behind(measure, width):
    """Columns of the responses to the measure's probes: after the elements; the identity is element 0."""
    elements = next(m for m in range(width, 0, -1) if m + sum(added(measure, m).values()) == width)
    found, start = {}, elements
    for name, count in added(measure, elements).items():
        found[name] = tuple(range(start, start + count)) if count else (0,)
        start += count
    return found


def added(measure, elements):
    """Number of columns that each probe adds to this many elements; the identity is among the elements."""
    return {p.name: 0 if isinstance(p, Untransformed) else p.columns(elements) for p in measure.probes}


def block_of(activations, labels, lo, hi, *, probes=None, buckets=None, indices=None, paired=False):
    """A block with samples lo to hi."""
    few = torch.as_tensor(np.asarray(activations)[lo:hi])
    samples, width = few.shape[:2]
    behind = sum(len(columns) for columns in (probes or {}).values() if columns != (0,))
    return Block(
        values=few.flatten(0, 1).contiguous(),
        samples=samples,
        elements=width - behind,
        sample_step=width,
        element_step=1,
        membership=Membership(np.zeros((samples, 1), int) if buckets is None else buckets[lo:hi, None]),
        indices=np.arange(lo, hi) if indices is None else indices[lo:hi],
        labels=None if labels is None else torch.as_tensor(np.asarray(labels)[lo:hi]),
        positions=np.arange(lo, hi),
        sizes=np.full(samples, samples),
        probes=probes or {},
        partners=partners(samples) if paired else None,
        total=len(activations),
        act=turned,
        acting=acting_elements(QuarterTurns(), seed=0),
    )


def turned(maps, indices, keys, inverse):
    return QuarterTurns().act(maps, inverse=inverse)


def case_for(measure, seed=0, samples=40):
    """Random activations of the kind that the measure needs, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    maps, elements = ((4, 3, 3), 4) if measure.needs_action else ((4, 3, 2), 5)
    columns = elements + sum(added(measure, elements).values())
    if measure.scope == "output" and not measure.needs_action:
        return rng.normal(size=(samples, columns, 3)), labels
    base = rng.normal(size=(samples, 1, *maps)) * rng.uniform(0.1, 10, maps)
    return base + 0.3 * rng.normal(size=(samples, columns, *maps)) + 2.0, labels


def still_at_the_identity(measure, activations, labels):
    """The case with probes that move as far as each element; at the identity, not at all."""
    behind = columns_behind(measure, activations.shape[1])
    as_far = [p.name for p in measure.probes if isinstance(p, (EqualNoise, TowardNeighbour))]
    activations[:, [behind[name][0] for name in as_far]] = activations[:, :1]
    return activations, labels


def plain(values):
    return values.values[0]


def compared(found, expected):
    """Pairs of the measure's and its oracle's values for each output."""
    assert set(expected) <= set(found), "the oracle has an output that the measure has not"
    assert expected, "the oracle says nothing"
    return [(found[output], expected[output]) for output in expected]


@pytest.mark.parametrize("measure", INSTANCES)
def test_values_equal_the_brute_force_oracle(measure):
    activations, labels = case_for(measure)
    expected = measure.oracle(activations, labels)
    found = final_values(measure, activations, labels, parts=(3, 17))
    for values, answer in compared(found, expected):
        np.testing.assert_allclose(plain(values), answer, rtol=1e-10)


@pytest.mark.parametrize("measure", INSTANCES)
def test_values_from_float32_activations_equal_the_oracle_on_them(measure):
    activations, labels = case_for(measure)
    activations = activations.astype(np.float32)
    expected = measure.oracle(activations.astype(np.float64), labels)
    for values, answer in compared(final_values(measure, activations, labels, parts=(30,)), expected):
        np.testing.assert_allclose(plain(values), answer, rtol=1e-6)


@pytest.mark.parametrize("measure", INSTANCES)
def test_blocks_order_and_merging_do_not_matter(measure):
    activations, labels = case_for(measure)
    shuffled = np.random.default_rng(9).permutation(len(activations))
    once = final_values(measure, activations, labels)
    feeding = {"indices": shuffled, "parts": (5, 6, 39), "merge_at": 21}
    merged = final_values(measure, activations[shuffled], labels[shuffled], **feeding)
    for output in once:
        np.testing.assert_allclose(plain(once[output]), plain(merged[output]), rtol=1e-9)


@pytest.mark.parametrize("measure", WITHOUT_PILOT)
def test_replicates_equal_the_oracle_without_the_group(measure):
    activations, labels = case_for(measure)
    buckets = np.sort(np.random.default_rng(1).integers(0, 3, len(activations)))
    found = final_values(measure, activations, labels, buckets=buckets, groups=((0,), (1,), (2,)))
    for group in range(3):
        expected = oracle_without(measure, activations, labels, buckets == group)
        single = {name for name, output in measure.outputs().items() if not output.interval}
        assert all(len(found[output].values) == 1 for output in single & found.keys())
        several = {output: answer for output, answer in expected.items() if output not in single}
        for values, answer in compared(found, several):
            np.testing.assert_allclose(values.values[1 + group], answer, rtol=1e-9)


def oracle_without(measure, activations, labels, left_out):
    """The oracle of the remaining samples; oracles that use positions in the data set are passed them."""
    kept = np.flatnonzero(~left_out)
    positions = {"indices": kept} if "indices" in inspect.signature(measure.oracle).parameters else {}
    return measure.oracle(activations[kept], labels[kept], **positions)


@pytest.mark.parametrize(("cls", "answer"), ANSWERS)
def test_answers_worked_out_by_hand(cls, answer):
    measure = cls(**answer.options)
    found = final_values(measure, np.asarray(answer.activations, float), answer.labels)
    np.testing.assert_allclose(plain(found[answer.output]), answer.expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "cls"), CLASSES)
def test_documentation_says_what_a_reader_needs(name, cls):
    text = inspect.getdoc(cls) or ""
    for part in (".. math::", "Shapes:", "Source:", ">>>"):
        assert part in text or (part == "Shapes:" and "Shapes" in text), (
            f"{name}: no {part!r} in its docstring"
        )
    assert re.search(r"(?i)not|only", cls.reading), f"{name}: `reading` does not state a caveat"
    assert re.search(r"\b[01]\b|[Ll]arger", cls.reading), (
        f"{name}: `reading` does not say what 0, 1 or more mean"
    )
    assert cls.summary.endswith(".")
    assert name in MEASURES.names()


@pytest.mark.parametrize("measure", INSTANCES)
def test_values_are_of_a_declared_kind_and_within_the_declared_range(measure):
    activations, labels = case_for(measure)
    outputs = measure.outputs()
    for name, values in final_values(measure, activations, labels, paired=True).items():
        low, high = outputs[name].range
        assert isinstance(values, (UnitValues, ElementValues, LayerValues, CurveValues))
        assert np.nanmin(values.values) >= low
        assert np.nanmax(values.values) <= high


@pytest.mark.parametrize("measure", [p for p in INSTANCES if p.values[0].scope == "layers"])
def test_one_number_per_sample_is_one_unit(measure):
    activations, labels = case_for(measure)
    numbers = activations.reshape(*activations.shape[:2], -1)[..., 0]
    answers = [answer_or_refusal(measure, case, labels) for case in (numbers, numbers[..., None])]
    assert answers[0].keys() == answers[1].keys()
    for output, values in answers[0].items():
        np.testing.assert_array_equal(values, answers[1][output])


def answer_or_refusal(measure, activations, labels):
    try:
        found = final_values(measure, activations, labels)
    except NotApplicableError:
        return {}
    return {output: plain(values).ravel() for output, values in found.items()}


@pytest.mark.parametrize("measure", INSTANCES)
def test_a_mean_over_elements_leaves_out_what_is_known_beforehand_at_the_identity(measure):
    by_definition = getattr(measure, "exclude_identity", True)  # otherwise the mean includes the identity
    cases = [still_at_the_identity(measure, *case_for(measure, seed=seed)) for seed in range(3)]
    found = final_values(measure, *cases[0])
    curves = [name for name, values in found.items() if isinstance(values, ElementValues)]
    answers = [measure.oracle(*case) for case in cases] if curves else []
    for output in curves:
        if output not in answers[0]:  # cannot be computed from responses alone
            continue
        curve, *others = (answer[output] for answer in answers)
        known = all(np.isclose(curve[0], other[0], rtol=1e-9, equal_nan=True) for other in others)
        # A fit predicts the identity up to its ridge, as does the measure itself.
        known |= output == "by_element" and np.isclose(answers[0][""], np.mean(curve[1:]))
        expected = np.mean(curve[1:]) if known and by_definition else np.nanmean(curve)
        np.testing.assert_allclose(found[output].layer_values()[0], expected, rtol=1e-9)


def test_names_objects_and_classes_all_give_measures():
    from invariscope.measures.variance import NormalizedVariance

    expected = NormalizedVariance()
    assert as_measures("normalized_variance") == as_measures([NormalizedVariance]) == (expected,)


def test_an_unknown_measure_is_answered_with_the_closest_names():
    with pytest.raises(
        ValueError, match=r"unknown measure 'normalised_variance'\. Closest: 'normalized_variance'"
    ):
        as_measures("normalised_variance")


def test_asking_twice_for_a_measure_is_an_error():
    with pytest.raises(ValueError, match=r"requested 2 times, .*; leave one of them out"):
        as_measures(["prediction", "prediction"])


def test_something_else_is_not_a_measure():
    with pytest.raises(TypeError, match="got int"):
        as_measures([3])
