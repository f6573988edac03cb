"""The compiled loops of the information statistics: binning, counting and mutual information."""

from __future__ import annotations

from typing import Any

import numpy as np

from invariscope.statistics.compiling import compiled
from invariscope.statistics.kernel_checks import refuse_places, refuse_sizes
from invariscope.statistics.visits import Visits

BINS = 16
TILE = 64  # units per tile: the counts of one sample stay in the L2 cache
_LOGS = np.append(0.0, np.arange(1, 4096) * np.log2(np.arange(1, 4096)))  # most counts are small
_OPTIONS: Any = {"boundscheck": False, "error_model": "numpy"}


@compiled(**_OPTIONS)
def _find_bins(rows, places, edges, left, bins):
    """Fill an (element, unit) array with the number of edges below each response of one orbit."""
    width = bins.shape[1]
    bins[:] = 0
    for j in range(len(places)):
        row, found = rows[places[j], left : left + width], bins[j]
        for k in range(len(edges)):
            edge = edges[k, left : left + width]
            for u in range(width):
                found[u] += row[u] > edge[u]


@compiled(**_OPTIONS)
def _add_elements(bins, order, counts, left):
    """Add one orbit, with its elements reordered, to (element, unit, bin) counts."""
    elements, width = bins.shape
    for j in range(elements):
        into, found = counts[order[j], left : left + width], bins[j]
        for u in range(width):
            into[u, found[u]] += 1


@compiled(**_OPTIONS)
def _add_classes(histogram, classes, counts, left):
    """Add the histogram of one orbit to (draw, class, unit, bin) counts, under one class in each draw."""
    width = len(histogram)
    for d in range(len(counts)):
        into = counts[d, classes[d], left : left + width]
        for u in range(width):
            for b in range(BINS):
                into[u, b] += histogram[u, b]


@compiled(**_OPTIONS)
def _count_bins(rows, places, edges, orders, classes, runs, by_element, by_class):
    samples, starts, buckets = runs
    units, elements = rows.shape[1], places.shape[1]
    for left in range(0, units, TILE):
        width = min(TILE, units - left)
        bins = np.zeros((elements, width), np.uint8)
        histogram = np.zeros((1, width, BINS), by_class.dtype)
        for run in range(len(buckets)):
            elementwise, classwise = by_element[buckets[run]], by_class[buckets[run]]
            for i in samples[starts[run] : starts[run + 1]]:
                _find_bins(rows, places[i], edges, left, bins)
                for d in range(len(elementwise)):
                    _add_elements(bins, orders[i, d], elementwise[d], left)
                if by_class.shape[2]:
                    histogram[:] = 0
                    for j in range(elements):
                        _add_elements(bins[j : j + 1], np.zeros(1, np.int64), histogram, 0)
                    _add_classes(histogram[0], classes[i], classwise, left)


def count_bins(
    rows: np.ndarray,
    places: np.ndarray,
    edges: np.ndarray,
    orders: np.ndarray,
    classes: np.ndarray,
    visits: Visits,
    by_element: np.ndarray,
    by_class: np.ndarray,
) -> None:
    """Add a block's orbits to the counts of their buckets.

    Args:
        rows: (row, unit) responses.
        places: (sample, element) rows of each orbit.
        edges: (edge, unit) in the type of `rows`; a response's bin is the number of edges below it.
        orders: (sample, draw, element) the element under which each response is counted: its own in draw 0, a
            permuted one in the other draws.
        classes: (sample, draw) the class under which each sample is counted, likewise; empty without classes.
        visits: which samples are added to which buckets.
        by_element, by_class: (bucket, draw, element or class, unit, bin) counts.
    Raises:
        ValueError: sizes that do not match.
    """
    sample, bucket, _ = visits.reach
    units, elements, draws = rows.shape[1], places.shape[1], by_element.shape[1]
    inner = (units, BINS)
    refuse_sizes(
        edges=(edges.shape[1:], (units,)),
        counts=(by_element.shape[2:], (elements, *inner)),
        classes=(by_class.shape[:2] + by_class.shape[3:], (*by_element.shape[:2], *inner)),
        orders=(orders.shape[1:], (draws, elements)),
    )
    refuse_places(edges=(len(edges), BINS), rows=(places, len(rows)), orders=(orders, elements))
    refuse_places(sample=(sample, min(len(places), len(orders))), bucket=(bucket, len(by_element)))
    if by_class.shape[2]:
        refuse_sizes(classes=(classes.shape[1:], (draws,)))
        refuse_places(sample=(sample, len(classes)), classes=(classes, by_class.shape[2]))
    runs = (visits.samples, visits.edges, visits.buckets)
    _count_bins(rows, places, edges, orders, classes, runs, by_element, by_class)


@compiled(**_OPTIONS)
def _times_log(count):
    return _LOGS[count] if count < len(_LOGS) else count * np.log2(np.float64(count))


@compiled(**_OPTIONS)
def mutual_information(counts):
    """Return the mutual information, in bits, between rows and bins.

    Args:
        counts: (draw, row, unit, bin).
    Returns:
        (draw, unit); NaN if nothing is counted.
    """
    draws, rows, units, bins = counts.shape
    found = np.empty((draws, units))
    for d in range(draws):
        columns, joint = np.zeros((units, bins), np.int64), np.zeros(units)
        for r in range(rows):
            for u in range(units):
                total = 0
                for b in range(bins):
                    count = np.int64(counts[d, r, u, b])
                    total += count
                    columns[u, b] += count
                    joint[u] += _times_log(count)
                joint[u] -= _times_log(total)
        for u in range(units):
            whole = columns[u].sum()
            for b in range(bins):
                joint[u] -= _times_log(columns[u, b])
            found[d, u] = (joint[u] + _times_log(whole)) / whole if whole > 0 else np.nan
    return found
