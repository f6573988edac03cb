"""`iv.worst_element`: the transformation that moves a layer the most, between the listed elements too."""

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
from invariscope.results.rows import Row
from invariscope.transforms import as_transform
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.traits import Slider

# New places on each side of the best one so far: the distance to its neighbours becomes a fifth.
_EACH_SIDE = 4
_SHARE = 100
_WORST = WorstElement().name
_CURVES = {
    "refined": f"{_WORST}.by_element",
    "refined_tail": f"{_WORST}.tail_by_element",
    "refined_largest": f"{_WORST}.largest_by_element",
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
    """The element that moves each layer the most, refined between its neighbours, with the tails.

    .. math:: t^* = \\mathrm{argmax}_t \\left\\langle
        \\frac{\\|a(t x_i) - a(x_i)\\|}{\\|a(x_i)\\|} \\right\\rangle_i

    First the listed elements are measured, as `WorstElement` does. Then, for every layer, eight further
    places are measured around its worst one, on the same samples, and again around the worst of those, until
    its neighbours are no further away than the tolerance. Layers whose worst places coincide share them;
    each walk forwards every new place once for all layers.

    Misleads: the refinement climbs the highest peak that the listed elements show, and a narrower one between
    others stays unseen: list them closely enough. Where the curve is flat the place means little. The
    value is the largest of many estimates on one set of samples: too large where these are few, and its
    interval is that of the place found, not of the search. Interpolating transforms blur between exact
    elements, and the worst place may be one of strong blur: compare with a round trip.

    Args:
        model, data: as `iv.measure` takes them; the data are walked once more for each narrowing.
        transform: one whose elements differ by one number: `Rotation`, `Translation` along one axis, `Scale`
            or `Shear`.
        tolerance: in the parameter's own unit; None: a hundredth of the widest gap between listed elements.
        samples: a seeded subset of this many samples.
        seed: of that subset.
        options: further options of `iv.measure`, such as layers, batch_size, device, precision, label.

    Returns:
        The `Result` of the listed elements, with four more rows a layer: "worst_element.refined", the largest
        mean discrepancy; ".refined_parameter", where it is, in the unit that its note names;
        ".refined_tail" and ".refined_largest", the 95 % quantile and the maximum over samples at that
        place. `provenance["refinement"]` says to what tolerance, in how many walks, on how many samples. A
        layer that nothing moves has no such rows.

    Raises:
        TypeError: a transform without one parameter to refine, or with drawn elements.
        ValueError: a tolerance that is not above 0, data that can be walked only once.

    Source:
        The worst-case transformation of Engstrom et al. 2019, arXiv:1712.02779, applied to representations.
    """
    for name in ("measures", "by_class", "checkpoint"):
        if name in options:
            raise TypeError(f"worst_element takes no {name}=: call iv.measure for the listed elements alone")
    if tolerance is not None and not 0 < tolerance < float("inf"):
        raise ValueError(f"tolerance is a distance above 0 in the parameter's unit; got {tolerance!r}")
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
            "there is something between elements only where they differ by one number that is not drawn: "
            "Rotation without jitter, Translation along one axis, Scale or Shear; got "
            f"{type(transform).__name__}. For the listed elements alone call iv.measure with WorstElement()."
        )
    if len(set(found.values)) < 2:
        raise ValueError(f"all elements have the same {found.name}: there is nothing between them")
    return found


@dataclass(eq=False)
class _Search:
    """What is known of every layer so far, place by place.

    Args:
        known: by layer and place the points of the curves, by what they hold.
        inputs: how many have been forwarded, and in how many walks.
    """

    model: Any
    source: Source
    slider: Slider
    options: dict[str, Any]
    known: dict[LayerKey, dict[float, dict[str, Mapping[str, Any]]]] = field(default_factory=dict)
    walks: int = 0
    inputs: int = 0

    def measure(self, transform: Transform) -> Result:
        """Measures the elements, and remembers what came out."""
        result = measure(self.model, self.source, transform, measures=WorstElement(), **self.options)
        assert transform.traits.slider is not None
        places = transform.traits.slider.values
        for point in result.curve_rows:
            output = next((o for o, name in _CURVES.items() if name == point["measure"]), None)
            if output is not None and point["stratum"] == "all":
                layer = self.known.setdefault((point["layer"], point["call"]), {})
                layer.setdefault(self._folded(places[point["element"]]), {})[output] = point
        self.walks += 1
        self.inputs += result.provenance["options"]["forwarded_inputs"]
        return result

    @property
    def places(self) -> list[float]:
        """All places that any layer has a value for, in order."""
        return sorted(set().union(*self.known.values()))

    def _folded(self, place: float) -> float:
        first, period = min(self.slider.values), self.slider.period
        return first + (place - first) % period if period else float(place)

    @property
    def peaks(self) -> dict[LayerKey, float]:
        """Where each layer's mean discrepancy is largest; layers that nothing moves are left out."""
        found = {}
        for key, points in self.known.items():
            best = max(points, key=lambda place: _value(points[place]))
            if _value(points[best]) > 0:
                found[key] = best
        return found

    def neighbours(self, key: LayerKey, place: float) -> list[float]:
        """The nearest known places below and above; none beyond the ends, unless the elements go round."""
        known = sorted(self.known[key])
        period = self.slider.period
        if period and self._goes_round():
            known = [known[-1] - period, *known, known[0] + period]
        at = known.index(place)
        return known[max(at - 1, 0) : at] + known[at + 1 : at + 2]

    def _goes_round(self) -> bool:
        """Whether the gap from the last listed element to the first is about as wide as the others."""
        assert self.slider.period is not None
        listed = sorted({self._folded(value) for value in self.slider.values})
        return listed[0] + self.slider.period - listed[-1] <= 1.5 * max(b - a for a, b in pairwise(listed))

    def reach(self, key: LayerKey, place: float) -> float:
        """How far away the further neighbour is."""
        return max(abs(other - place) for other in self.neighbours(key, place))

    def wanted(self, near: float) -> list[float]:
        """New places around every peak whose neighbours are further away than `near`."""
        found: set[float] = set()
        for key, place in self.peaks.items():
            for other in self.neighbours(key, place):
                if abs(other - place) > near * (1 + 1e-9):
                    found.update(_between(place, other))
        # Between two numbers that are as close as numbers can be there is nothing new.
        return sorted({self._folded(place) for place in found}.difference(self.places))


def _value(point: Mapping[str, Mapping[str, Any]]) -> float:
    value = point["refined"]["value"]
    return value if np.isfinite(value) else -1.0


def _between(place: float, other: float) -> Sequence[float]:
    return np.linspace(place, other, _EACH_SIDE + 2)[1:-1].tolist()


def _with_peaks(listed: Result, search: _Search, near: float) -> Result:
    """The result of the listed elements with what the search found."""
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
    shared |= {"stratum": "all", "samples": points["refined"]["samples"]}
    reach = search.reach(key, place)
    note = f"{search.slider.name}; neighbours no further than {reach:.3g} were measured"
    for output, point in points.items():
        values = {name: point[name] for name in ("value", *MISSING.columns)}
        yield _row(output, **shared, **values, note=f"at {_shown(search, place)}")
    yield _row("refined_parameter", **shared, value=place, **MISSING.columns, note=note)


def _row(output: str, **columns: Any) -> Row:
    return Row(measure=f"{_WORST}.{output}", output=output, **columns)


def _shown(search: _Search, place: float) -> str:
    return f"{search.slider.name} = {place:.5g}"
