"""What every measure must satisfy. A new measure is tested here without an edit: it brings its own cases."""

from __future__ import annotations

import inspect
import itertools
import re

import numpy as np
import pytest
import torch

from invariscope.measures.base import MEASURES, ElementValues, LayerContext, UnitValues, as_measures
from invariscope.statistics.base import Block, Membership

CLASSES = sorted(MEASURES.classes().items())
INSTANCES = [pytest.param(m, id=f"{name}-{i}") for name, cls in CLASSES for i, m in enumerate(cls.examples())]
ANSWERS = [
    pytest.param(cls, answer, id=f"{name}-{i}")
    for name, cls in CLASSES
    for i, answer in enumerate(cls.known_answers())
]


def final_values(measure, activations, labels=None, **feeding):
    """The measure's values through its statistics."""
    shape = tuple(np.shape(activations)[2:])
    return measure.evaluate(
        finals_of(measure, activations, labels, **feeding), LayerContext("layer", 0, shape)
    )


def finals_of(measure, activations, labels=None, *, parts=(), buckets=None, groups=((0,),), merge_at=None):
    """Final statistics of activations fed in blocks; merged from two states if asked."""
    activations = torch.as_tensor(np.asarray(activations))
    labels = None if labels is None else torch.as_tensor(np.asarray(labels))
    buckets = np.zeros(len(activations), np.int64) if buckets is None else buckets
    count = max(max(group) for group in groups) + 1
    finals = []
    for statistic in measure.statistics():
        states = [None]
        edges = sorted({0, *parts, len(activations)} | ({merge_at} if merge_at else set()))
        for lo, hi in itertools.pairwise(edges):
            if lo == merge_at:
                states.append(None)
            block = block_of(
                activations[lo:hi], buckets[lo:hi], None if labels is None else labels[lo:hi], lo
            )
            if states[-1] is None:
                states[-1] = statistic.init(block, buckets=count)
            statistic.update(states[-1], block)
        whole = states[0] if len(states) == 1 else statistic.merge(*states)
        finals.append(statistic.finalize(whole, [list(group) for group in groups]))
    return tuple(finals)


def block_of(activations, buckets, labels, first):
    samples, elements = activations.shape[:2]
    return Block(
        values=activations.flatten(0, 1).contiguous(),
        samples=samples,
        elements=elements,
        sample_step=elements,
        element_step=1,
        membership=Membership(buckets[:, None]),
        indices=np.arange(first, first + samples),
        labels=labels,
        ranks=np.arange(first, first + samples),
        sizes=np.full(samples, samples),
        identity=0,
    )


def case_for(measure, seed=0, samples=40):
    """Random activations of the kind that the measure reads, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    if measure.scope == "output":
        return rng.normal(size=(samples, 5, 3)), labels
    base = rng.normal(size=(samples, 1, 4, 3, 2)) * rng.uniform(0.1, 10, (4, 3, 2))
    return base + 0.3 * rng.normal(size=(samples, 5, 4, 3, 2)) + 2.0, labels


def plain(values):
    return values.values[0]


@pytest.mark.parametrize("measure", INSTANCES)
def test_values_equal_the_brute_force_oracle(measure):
    activations, labels = case_for(measure)
    expected = measure.oracle(activations, labels)
    found = final_values(measure, activations, labels, parts=(3, 17))
    assert found.keys() == expected.keys()
    for output, values in found.items():
        np.testing.assert_allclose(plain(values), expected[output], rtol=1e-10)


@pytest.mark.parametrize("measure", INSTANCES)
def test_values_from_float32_activations_equal_the_oracle_on_them(measure):
    activations, labels = case_for(measure)
    activations = activations.astype(np.float32)
    expected = measure.oracle(activations.astype(np.float64), labels)
    for output, values in final_values(measure, activations, labels, parts=(30,)).items():
        np.testing.assert_allclose(plain(values), expected[output], rtol=1e-6)


@pytest.mark.parametrize("measure", INSTANCES)
def test_blocks_order_and_merging_do_not_matter(measure):
    activations, labels = case_for(measure)
    shuffled = np.random.default_rng(9).permutation(len(activations))
    once = final_values(measure, activations, labels)
    merged = final_values(measure, activations[shuffled], labels[shuffled], parts=(5, 6, 39), merge_at=21)
    for output in once:
        np.testing.assert_allclose(plain(once[output]), plain(merged[output]), rtol=1e-9)


@pytest.mark.parametrize("measure", INSTANCES)
def test_replicates_equal_the_oracle_without_the_group(measure):
    activations, labels = case_for(measure)
    buckets = np.sort(np.random.default_rng(1).integers(0, 3, len(activations)))
    found = final_values(measure, activations, labels, buckets=buckets, groups=((0,), (1,), (2,)))
    for group in range(3):
        expected = measure.oracle(activations[buckets != group], labels[buckets != group])
        for output, values in found.items():
            np.testing.assert_allclose(values.values[1 + group], expected[output], rtol=1e-9)


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
    assert re.search(r"not|mislead|only", cls.reading), (
        f"{name}: `reading` does not say when the number misleads"
    )
    assert cls.summary.endswith(".")
    assert name in MEASURES.names()


@pytest.mark.parametrize("measure", INSTANCES)
def test_values_are_of_a_declared_kind_and_within_the_declared_range(measure):
    activations, labels = case_for(measure)
    low, high = measure.range
    for values in final_values(measure, activations, labels).values():
        assert isinstance(values, (UnitValues, ElementValues))
        assert np.nanmin(values.values) >= low
        assert np.nanmax(values.values) <= high


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
    with pytest.raises(ValueError, match="asked for 2 times"):
        as_measures(["prediction", "prediction"])


def test_something_else_is_no_measure():
    with pytest.raises(TypeError, match="got int"):
        as_measures([3])
