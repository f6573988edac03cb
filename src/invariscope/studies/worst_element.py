"""`iv.worst_element`: the transformation that changes a layer most, searched between listed elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.data.sources import Source, as_source, refuse_second_walk
from invariscope.engine.api import measure
from invariscope.intervals import MISSING
from invariscope.measures.worst_element import WorstElement
from invariscope.readers.base import LayerKey, as_reader
from invariscope.results.result import Result
from invariscope.results.rows import Point, Row
from invariscope.transforms import as_transform
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.traits import Slider

# Number of new places on each side of the worst one so far; they reduce the distance to its neighbours to a
# fifth.
_EACH_SIDE = 4
_SHARE = 100
_WORST = WorstElement().name
_CURVES = {
    f"{_WORST}.by_element": "refined",
    f"{_WORST}.tail_by_element": "refined_tail",
    f"{_WORST}.largest_by_element": "refined_largest",
}


@without_autocast()
@without_default_device()
def worst_element(
    model: Any,
    data: Any,
    transform: Any,
    *,
    tolerance: float | None = None,
    samples: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Result:
    """Find the element that changes each layer most, refined between the listed elements, with tails.

    .. math:: t^* = \\mathrm{argmax}_t \\left\\langle
        \\frac{\\|a(t x_i) - a(x_i)\\|}{\\|a(x_i)\\|} \\right\\rangle_i

    The listed elements are measured as by `WorstElement`. Then, for every layer, eight further places around
    the worst one are measured on the same samples, and again around the worst of those, until the neighbours
    are within the tolerance. In every pass over the data, each sample is forwarded once per new place, for
    all layers together.

    Caveats: the refinement climbs the highest peak among the listed elements and misses narrower peaks
    between other elements, so list them closely enough. If the curve is flat, the place found is largely due
    to chance. The value is the largest of many estimates on the same samples, so it is biased upwards for few
    samples; its interval does not account for the search. Interpolating transforms blur images between exact
    elements, so the worst place may be the one with the strongest blur: compare with a round trip.

    Args:
        model, data: as for `iv.measure`; every refinement is another pass over the data.
        transform: a transform whose elements differ in a single, non-random parameter: `Rotation`,
            `Translation` along one axis, `Scale` or `Shear`.
        tolerance: largest distance from the worst place to its neighbours, in units of the parameter; None:
            a hundredth of the widest gap between listed elements.
        samples: use a seeded subset of this many samples.
        seed: seed of the subset.
        options: further options of `iv.measure`, such as layers, batch_size, device, precision or label.

    Returns:
        The `Result` of the listed elements with four more rows per layer: "worst_element.refined", the
        largest mean discrepancy; ".refined_parameter", its place, in the unit that the note names;
        ".refined_tail" and ".refined_largest", the 95 % quantile and the maximum over samples at that place.
        Layers that no element changes have no such rows. `provenance["refinement"]` holds tolerance, passes
        and samples.

    Raises:
        TypeError: the transform does not have exactly one parameter to refine, or its elements are drawn.
        ValueError: the tolerance is not positive, or the data can be read only once.

    Source:
        Engstrom et al. 2019, arXiv:1712.02779, the worst-case transformation, applied to representations.
    """
    for name in ("measures", "by_class", "checkpoint", "checkpoint_every"):
        if name in options:
            raise TypeError(
                f"worst_element does not take {name}=; call iv.measure to measure the listed elements"
            )
    if tolerance is not None and not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance must be a positive number in units of the parameter; got {tolerance!r}")
    slider = _slider(as_transform(transform))
    who = {name: options.pop(name, None) for name in ("ids", "clusters")}
    last = as_reader(model).channels_last
    source = as_source(data, samples=samples, seed=seed, channels_last=last, **who)
    refuse_second_walk(source, "a refinement measures the same samples again")
    search = _Search(model, source, slider, options | {"seed": seed})
    listed = search.measure(as_transform(transform))
    near = tolerance or max(b - a for a, b in pairwise(search.places)) / _SHARE
    while places := search.wanted(near):
        search.measure(slider.at(places))
    return _with_peaks(listed, search, near)


def _slider(transform: Transform) -> Slider:
    found = transform.traits.slider
    if found is None:
        raise TypeError(
            "worst_element needs elements that differ in a single, non-random parameter: Rotation without "
            f"jitter, Translation along one axis, Scale or Shear; got {type(transform).__name__}. To measure "
            "the listed elements alone, call iv.measure with WorstElement()."
        )
    if len(set(found.values)) < 2:
        raise ValueError(f"all elements have the same {found.name}; list at least two different values")
    return found


@dataclass(eq=False)
class _Search:
    """State of the search: the measured points of every layer, indexed by place.

    Args:
        known: points by layer, place and output.
        walks, inputs: number of passes over the data and of forwarded inputs so far.
    """

    model: Any
    source: Source
    slider: Slider
    options: dict[str, Any]
    known: dict[LayerKey, dict[float, dict[str, Point]]] = field(default_factory=dict)
    walks: int = 0
    inputs: int = 0

    def measure(self, transform: Transform) -> Result:
        """Measure the elements, store the points, and return the result."""
        result = measure(self.model, self.source, transform, measures=WorstElement(), **self.options)
        assert transform.traits.slider is not None
        places = transform.traits.slider.values
        for point in result.curve_rows:
            if (output := _CURVES.get(point.measure)) and point.stratum == "all":
                layer = self.known.setdefault(point.key, {})
                layer.setdefault(self._folded(places[point.element]), {})[output] = point
        self.walks += 1
        self.inputs += result.provenance["options"]["forwarded_inputs"]
        return result

    @property
    def places(self) -> list[float]:
        """All measured places in order."""
        return sorted(set().union(*self.known.values()))

    def _folded(self, place: float) -> float:
        first, period = min(self.slider.values), self.slider.period
        return first + (place - first) % period if period else float(place)

    @property
    def peaks(self) -> dict[LayerKey, float]:
        """The place of each layer's largest mean discrepancy; layers that no element changes are left out."""
        found = {}
        for key, points in self.known.items():
            best = max(points, key=lambda place: _value(points[place]))
            if _value(points[best]) > 0:
                found[key] = best
        return found

    def neighbours(self, key: LayerKey, place: float) -> list[float]:
        """Return the nearest known places below and above, wrapping around if the elements are periodic."""
        known = sorted(self.known[key])
        period = self.slider.period
        if period and self._is_periodic():
            known = [known[-1] - period, *known, known[0] + period]
        at = known.index(place)
        return known[max(at - 1, 0) : at] + known[at + 1 : at + 2]

    def _is_periodic(self) -> bool:
        """Return whether the gap from the last listed element to the first is about as wide as the others."""
        assert self.slider.period is not None
        listed = sorted({self._folded(value) for value in self.slider.values})
        return listed[0] + self.slider.period - listed[-1] <= 1.5 * max(b - a for a, b in pairwise(listed))

    def reach(self, key: LayerKey, place: float) -> float:
        """Return the distance from a place to the farther of its neighbours."""
        return max(abs(other - place) for other in self.neighbours(key, place))

    def wanted(self, near: float) -> list[float]:
        """Return new places around every peak that has a neighbour farther away than `near`."""
        found: set[float] = set()
        for key, place in self.peaks.items():
            for other in self.neighbours(key, place):
                if abs(other - place) > near * (1 + 1e-9):
                    found.update(_between(place, other))
        # There is nothing new between two adjacent floating-point numbers.
        return sorted({self._folded(place) for place in found}.difference(self.places))


def _value(points: Mapping[str, Point]) -> float:
    value = points["refined"].value
    return value if np.isfinite(value) else -1.0


def _between(place: float, other: float) -> Sequence[float]:
    return np.linspace(place, other, _EACH_SIDE + 2)[1:-1].tolist()


def _with_peaks(listed: Result, search: _Search, near: float) -> Result:
    """Add rows for the peaks of the search to the result of the listed elements."""
    rows = [row for key, place in search.peaks.items() for row in _rows(search, key, place)]
    about = {
        "parameter": search.slider.name,
        "tolerance": near,
        "walks": search.walks,
        "forwarded_inputs": search.inputs,
        "samples": listed.provenance["data"]["samples"],
    }
    provenance = listed.provenance | {"refinement": about}
    return replace(listed, rows=(*listed.rows, *rows), provenance=provenance)


def _rows(search: _Search, key: LayerKey, place: float) -> Iterable[Row]:
    points = search.known[key][place]
    shared: dict[str, Any] = {"layer": key[0], "call": key[1], "elements": len(search.places)}
    shared |= {"stratum": "all", "samples": points["refined"].samples}
    reach = search.reach(key, place)
    note = f"{search.slider.name}; measured neighbours are within {reach:.3g}"
    for output, point in points.items():
        values = {name: point[name] for name in ("value", *MISSING.columns)}
        yield _row(output, **shared, **values, note=f"at {search.slider.name} = {place:.5g}")
    yield _row("refined_parameter", **shared, value=place, **MISSING.columns, note=note)


def _row(output: str, **columns: Any) -> Row:
    return Row(measure=f"{_WORST}.{output}", output=output, **columns)
