"""Compiled loops reject arrays beyond which they would read or write."""

from __future__ import annotations

import numpy as np
import pytest
from test_orbit_moments import accumulated

from invariscope.block import Membership
from invariscope.statistics.counts.bin_kernel import BINS, count_bins
from invariscope.statistics.counts.firing_kernel import count_firing, keep_largest
from invariscope.statistics.moments.group_kernel import group_products, strata_products
from invariscope.statistics.moments.moment_kernel import reduce_orbits
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.statistics.moments.references import take_references
from invariscope.statistics.sample_spread import add_offsets
from invariscope.statistics.visits import Visits

SAMPLES, ELEMENTS, UNITS = 6, 3, 5
ROWS = np.ones((SAMPLES * ELEMENTS, UNITS))
REFUSED = pytest.raises(ValueError, match="sizes do not match")


def visits(buckets=0, samples=SAMPLES, strata=0):
    shape = (samples, 1)
    return Visits.of(Membership(np.full(shape, buckets), np.full(shape, strata)), None)


def state():
    return accumulated(OrbitMoments(), np.ones((SAMPLES, ELEMENTS, UNITS)), [])


def test_sizes_that_fit_are_reduced():
    assert reduce_orbits(ROWS, (ELEMENTS, 1), visits(), state(), threads=1) is not None


@pytest.mark.parametrize(
    ("rows", "steps", "seen"),
    [
        (ROWS[:, :4], (ELEMENTS, 1), {}),
        (np.ones((SAMPLES * ELEMENTS, 40)), (ELEMENTS, 1), {}),
        (ROWS[:-1], (ELEMENTS, 1), {}),
        (ROWS, (ELEMENTS + 1, 1), {}),
        (ROWS, (1, SAMPLES + 1), {}),
        (ROWS, (-1, 1), {}),
        (ROWS, (ELEMENTS, 1), {"samples": SAMPLES + 1}),
        (ROWS, (ELEMENTS, 1), {"buckets": 1}),
        (ROWS, (ELEMENTS, 1), {"buckets": -1}),
        (ROWS, (ELEMENTS, 1), {"strata": 3}),
    ],
)
def test_orbits_that_do_not_fit_their_sums_are_refused(rows, steps, seen):
    with REFUSED:
        reduce_orbits(rows, steps, visits(**seen), state(), threads=1)


@pytest.mark.parametrize("name", ["columns", "within", "total", "unusual"])
def test_sums_of_another_width_are_refused(name):
    narrow = state()
    setattr(narrow.sums, name, np.ascontiguousarray(getattr(narrow.sums, name)[..., :4]))
    with REFUSED:
        reduce_orbits(ROWS, (ELEMENTS, 1), visits(), narrow, threads=1)


@pytest.mark.parametrize(
    "changed",
    [
        {"groups": [[0], [2]]},
        {"groups": [[-1]]},
        {"strata": np.array([0, 4])},
        {"counts": np.array([1])},
        {"pivots": np.zeros((1, ELEMENTS, UNITS - 1))},
        {"reference": 1},
    ],
)
def test_groups_that_do_not_fit_the_sums_are_refused(changed):
    given = {
        "columns": np.zeros((2, ELEMENTS, UNITS)),
        "groups": [[0], [1]],
        "strata": np.array([0, 0]),
        "counts": np.array([1, 1]),
        "pivots": np.zeros((1, ELEMENTS, UNITS)),
        "reference": 0,
    }
    group_products(**given)
    with REFUSED:
        group_products(**given | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"buckets": np.array([[[0], [2]]])},
        {"buckets": np.array([[[-1], [1]]])},
        {"counts": np.array([1])},
        {"pivots": np.zeros((1, ELEMENTS, UNITS - 1))},
        {"references": np.array([1])},
        {"references": np.array([0, 0])},
    ],
)
def test_strata_that_do_not_fit_the_sums_are_refused(changed):
    given = {
        "columns": np.zeros((2, ELEMENTS, UNITS)),
        "buckets": np.array([[[0], [1]]]),
        "counts": np.array([1, 1]),
        "pivots": np.zeros((1, ELEMENTS, UNITS)),
        "references": np.array([0]),
    }
    strata_products(**given)
    with REFUSED:
        strata_products(**given | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": ROWS[:, :4]},
        {"starts": np.arange(6)[None]},
        {"starts": np.array([[-1]])},
        {"starts": np.array([[len(ROWS) - 2]])},
        {"step": len(ROWS)},
        {"strata": np.array([1])},
        {"strata": np.array([0, 0])},
        {"pivots": np.ones((1, ELEMENTS, 4))},
        {"usual": np.ones((1, 2, 4))},
        {"weights": np.ones(4)},
    ],
)
def test_references_of_another_size_are_refused(changed):
    given = {
        "rows": ROWS,
        "starts": np.array([[0, ELEMENTS]]),
        "step": 1,
        "weights": np.ones(ELEMENTS),
        "share": 1e-10,
        "strata": np.array([0]),
        "pivots": np.ones((1, ELEMENTS, UNITS)),
        "usual": np.ones((1, 2, UNITS)),
    }
    take_references(**given)
    with REFUSED:
        take_references(**given | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": np.ones((SAMPLES, 4))},
        {"rows": np.ones((SAMPLES - 1, UNITS))},
        {"pivots": np.ones((1, 4))},
        {"visits": visits(buckets=2)},
        {"visits": visits(strata=1)},
        {"squares": np.zeros(1)},
    ],
)
def test_offsets_that_do_not_fit_are_refused(changed):
    given = {
        "rows": np.ones((SAMPLES, UNITS)),
        "pivots": np.ones((1, UNITS)),
        "visits": visits(),
        "sums": np.zeros((2, UNITS)),
        "squares": np.zeros(2),
    }
    add_offsets(**given)
    with REFUSED:
        add_offsets(**given | changed)


def test_heaps_of_another_width_are_refused():
    keep_largest(ROWS, np.full((2, UNITS, 2), -np.inf))
    with REFUSED:
        keep_largest(ROWS, np.full((2, UNITS - 1, 2), -np.inf))


@pytest.mark.parametrize(
    "changed",
    [
        {"places": np.full((SAMPLES, ELEMENTS), len(ROWS))},
        {"first": np.full(SAMPLES, -1)},
        {"first": np.zeros(SAMPLES - 1, np.int64)},
        {"bounds": np.ones((2, UNITS - 1))},
        {"visits": visits(buckets=1)},
        {"sums": np.zeros((1, 3, 2, UNITS - 1), np.int64)},
    ],
)
def test_firing_counts_that_do_not_fit_are_refused(changed):
    given = {
        "rows": ROWS,
        "places": np.zeros((SAMPLES, ELEMENTS), np.int64),
        "first": np.zeros(SAMPLES, np.int64),
        "bounds": np.ones((2, UNITS)),
        "visits": visits(),
        "sums": np.zeros((1, 3, 2, UNITS), np.int64),
    }
    count_firing(**given)
    with REFUSED:
        count_firing(**given | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": ROWS[:, :4]},
        {"places": np.full((SAMPLES, ELEMENTS), len(ROWS))},
        {"edges": np.ones((BINS, UNITS))},
        {"orders": np.full((SAMPLES, 2, ELEMENTS), ELEMENTS)},
        {"orders": np.zeros((SAMPLES - 1, 2, ELEMENTS), np.int64)},
        {"classes": np.full((SAMPLES, 2), 4)},
        {"visits": visits(buckets=1)},
        {"by_element": np.zeros((1, 2, ELEMENTS, UNITS - 1, BINS), np.uint8)},
        {"by_class": np.zeros((1, 3, 4, UNITS, BINS), np.uint8)},
    ],
)
def test_bin_counts_that_do_not_fit_are_refused(changed):
    given = {
        "rows": ROWS,
        "places": np.zeros((SAMPLES, ELEMENTS), np.int64),
        "edges": np.ones((BINS - 1, UNITS)),
        "orders": np.zeros((SAMPLES, 2, ELEMENTS), np.int64),
        "classes": np.zeros((SAMPLES, 2), np.int64),
        "visits": visits(),
        # types for this few samples, for which the loop is compiled anyway
        "by_element": np.zeros((1, 2, ELEMENTS, UNITS, BINS), np.uint8),
        "by_class": np.zeros((1, 2, 4, UNITS, BINS), np.uint8),
    }
    count_bins(**given)
    with REFUSED:
        count_bins(**given | changed)
