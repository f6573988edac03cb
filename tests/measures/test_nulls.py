"""Nulls: perfect networks are far from theirs, constant ones are not, and unpaired responses reach it."""

from __future__ import annotations

import numpy as np
import pytest
from test_every_measure import CLASSES, added, case_for, final_values

from invariscope.intervals import reaches_null
from invariscope.measures.values import LayerValues, UnitValues


def outputs(measure, activations, labels):
    """(value, null) of the scalar outputs."""
    found = final_values(measure, activations, labels, paired=True)
    return {
        name: (values.layer_values()[0], values.layer_null())
        if isinstance(values, UnitValues)
        else (values.values[0], values.null)
        for name, values in found.items()
        if isinstance(values, (UnitValues, LayerValues))
    }


def cases(measure):
    """Random activations, and the number of columns that are elements."""
    activations, labels = case_for(measure, samples=200)
    columns = activations.shape[1]
    elements = next(m for m in range(columns, 0, -1) if m + sum(added(measure, m).values()) == columns)
    return activations, labels, elements


def perfect(measure):
    """Responses that follow the elements as the measure requires, otherwise those of `cases`."""
    activations, labels, elements = cases(measure)
    first = activations[:, 0]
    for j in range(elements):
        follows = measure.needs_action
        activations[:, j] = np.rot90(first, j, axes=(-2, -1)) if follows else first
    return activations, labels


def has_null(measure):
    activations, labels = perfect(measure)
    found = outputs(measure, activations, labels)
    return any(np.isfinite(null) and not np.isnan(ideal(measure, name)) for name, (_, null) in found.items())


def ideal(measure, output):
    return measure.output(output).ideal


FIRST = [(name, cls.examples()[0]) for name, cls in CLASSES]
WITH_NULL = [pytest.param(measure, id=name) for name, measure in FIRST if has_null(measure)]


def reached(measure, name, value, null):
    row = {"value": value, "null": null, "ci_low": np.nan, "ci_high": np.nan}
    return reaches_null(row, ideal=ideal(measure, name))


def test_the_measures_that_can_have_a_null_have_one():
    assert {p.id for p in WITH_NULL} >= {
        *(
            "anova",
            "cka",
            "consistency",
            "equivariance_deviation",
            "equivariance_psnr",
            "normalized_distance",
        ),
        *("normalized_variance", "same_equivariance", "stability", "transformation_distance"),
        *("transformation_variance", "twirl", "worst_element"),
    }


@pytest.mark.parametrize("measure", WITH_NULL)
def test_a_perfect_network_is_far_from_its_null(measure):
    activations, labels = perfect(measure)
    for name, (value, null) in outputs(measure, activations, labels).items():
        if np.isfinite(null) and not np.isnan(ideal(measure, name)):
            assert abs(value - ideal(measure, name)) < 0.05 * abs(null - ideal(measure, name)), name
            assert not reached(measure, name, value, null)


@pytest.mark.parametrize("measure", WITH_NULL)
def test_a_constant_network_has_no_value_or_reaches_its_null(measure):
    activations, labels, _ = cases(measure)
    activations[:] = np.arange(1, activations.shape[2] + 1).reshape(-1, *(1,) * (activations.ndim - 3))
    for name, (value, null) in outputs(measure, activations, labels).items():
        if np.isfinite(null) and np.isfinite(value) and not np.isnan(ideal(measure, name)):
            assert reached(measure, name, value, null), (name, value, null)


# Compared with the mean of their own orbit, which includes them, they are closer than to another sample's.
OWN_MEAN = {"equivariance_deviation", "twirl"}


@pytest.mark.parametrize("measure", WITH_NULL)
def test_responses_without_any_pairing_lie_at_the_null(measure):
    activations, labels, _ = cases(measure)
    activations = np.random.default_rng(3).normal(size=activations.shape) + 0.5
    for name, (value, null) in outputs(measure, activations, labels).items():
        if np.isfinite(null) and not np.isnan(ideal(measure, name)) and np.isfinite(value):
            share = (value - ideal(measure, name)) / (null - ideal(measure, name))
            assert (0.5 if measure.name in OWN_MEAN else 0.85) < share < 1.15, (name, value, null)
