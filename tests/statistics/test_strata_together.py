"""Final values of many strata together are those of each stratum alone."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from test_orbit_moments import block_of

from invariscope.block import Membership
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.statistics.moments.variances import Moments

CLASSES, GROUPS = 4, 3
SIZES = (40, 2, 9, 23)


def state_of(spec, *, seed=0):
    """The state of classes that are far apart, one of which has too few samples for a reference."""
    generator = np.random.default_rng(seed)
    classes = np.repeat(np.arange(CLASSES), SIZES)
    buckets = classes * GROUPS + generator.integers(0, GROUPS, len(classes))
    buckets[classes == 2] = 2 * GROUPS  # its other groups are empty
    values = generator.normal(size=(len(classes), 4, 2, 3)) + 100.0 * classes[:, None, None, None]
    order, state = generator.permutation(len(classes)), None
    for chosen in np.array_split(order, 5):
        block = block_of(values[chosen])
        membership = Membership(buckets[chosen, None], classes[chosen, None], CLASSES)
        block = type(block)(**{**vars(block), "membership": membership})
        state = spec.init(block, buckets=CLASSES * GROUPS) if state is None else state
        spec.update(state, block)
    return state


BUCKETS = np.arange(CLASSES * GROUPS).reshape(CLASSES, GROUPS, 1)


@pytest.mark.parametrize("spread", ["variance", "std"])
@pytest.mark.parametrize("buckets", [BUCKETS, BUCKETS.reshape(CLASSES, 1, GROUPS), BUCKETS[[3, 1], :2]])
def test_strata_together_have_the_moments_of_each_alone(spread, buckets):
    spec = OrbitMoments(spread)
    state = state_of(spec)
    together = spec.finalize_strata(state, buckets)
    assert len(together) == len(buckets)
    for found, groups in zip(together, buckets.tolist(), strict=True):
        expected = spec.finalize(state, groups)
        for name in (one.name for one in fields(Moments)):
            mine, theirs = getattr(found, name), getattr(expected, name)
            assert np.shape(mine) == np.shape(theirs), name
            if theirs is not None:
                np.testing.assert_allclose(mine, theirs, rtol=1e-13, equal_nan=True, err_msg=name)


def test_strata_are_a_sequence():
    spec = OrbitMoments()
    together = spec.finalize_strata(state_of(spec), BUCKETS)
    np.testing.assert_array_equal(together[-1].within, together[CLASSES - 1].within)
    assert len(together[1:3]) == 2
    with pytest.raises(IndexError):
        together[CLASSES]


def test_buckets_of_another_stratum_are_refused():
    spec = OrbitMoments()
    with pytest.raises(AssertionError, match="another stratum"):
        spec.finalize_strata(state_of(spec), BUCKETS.reshape(1, 1, -1))


@pytest.mark.parametrize("spread", ["variance", "std"])
def test_merging_keeps_the_strata_apart(spread):
    spec = OrbitMoments(spread)
    merged = spec.merge(state_of(spec, seed=0), state_of(spec, seed=1))
    for number in range(CLASSES):
        groups = BUCKETS[number].tolist()
        parts = [spec.finalize(state_of(spec, seed=seed), groups) for seed in (0, 1)]
        found = spec.finalize(merged, groups)
        np.testing.assert_allclose(found.within[0], parts[0].within[0] + parts[1].within[0], rtol=1e-12)
        n = [part.samples[0] for part in parts]
        mean = (n[0] * parts[0].mean + n[1] * parts[1].mean) / (n[0] + n[1])
        np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
        np.testing.assert_array_equal(found.samples[0], n[0] + n[1])
