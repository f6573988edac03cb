"""From states to a labelled result: rows with intervals, maps, curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from invariscope.common.wording import listed
from invariscope.data.labels import Labelling
from invariscope.engine.arrival import remove_partner_outputs
from invariscope.engine.rows import (
    NO_UNIT,
    Stratum,
    beyond_float32,
    finite_mean,
    interval_of,
    layer_replicates,
    left_out,
    mean_over_classes,
    mean_units,
    row_of,
    why_none,
    with_note,
)
from invariscope.engine.state import OUTPUT, Run
from invariscope.intervals import GROUPS
from invariscope.measures.base import Measure, owner
from invariscope.measures.values import (
    BY_ELEMENT,
    CurveValues,
    ElementValues,
    LayerContext,
    LayerValues,
    UnitValues,
    Values,
)
from invariscope.readers.base import LayerKey
from invariscope.results.result import MapKey
from invariscope.statistics.base import Statistic
from invariscope.statistics.round_trip import OnRoundTrip
from invariscope.transforms.base import Transform


class Assembler:
    """Turns the states of one run into rows, maps and curves."""

    def __init__(
        self,
        run: Run,
        measures: tuple[Measure, ...],
        transform: Transform,
        *,
        labelling: Labelling | None,
        references: dict[LayerKey, np.ndarray],
        dead: dict[tuple[LayerKey, Statistic], np.ndarray],
    ) -> None:
        self.run, self.measures, self.transform = run, measures, transform
        self.labelling, self.references, self.dead = labelling or Labelling(), references, dead
        self.rows: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.maps: dict[MapKey, np.ndarray] = {}

    def __call__(self) -> None:
        """Fills `rows`, `maps` and `curves`."""
        # Layer by layer, so that measures share final values, which are too large to be kept for all layers.
        wanted: dict[LayerKey, list[tuple[Measure, LayerKey]]] = {}
        for measure in self.measures:
            layers = list(self._layers(measure))
            if not layers:
                self._refuse_no_layer(measure)
            for key, source in layers:
                wanted.setdefault(key, []).append((measure, source))
        for key, measures in wanted.items():
            for measure, source in measures:
                self._layer(measure, key, source)
        if self.run.arrival.is_sorted:
            remove_partner_outputs(self.rows, self.curves, self.measures)
        self._sort_by_measure()

    def _sort_by_measure(self) -> None:
        """All of a measure's layers together, in the order in which the measures were given."""
        for rows in (self.rows, self.curves):
            rows.sort(key=lambda row: self._place(row["measure"]))
        self.maps = dict(sorted(self.maps.items(), key=lambda entry: self._place(entry[0][0])))

    def _place(self, row: str) -> int:
        """The position of the measure that a row belongs to."""
        return self.measures.index(owner(row, self.measures))

    def _owns(self, measure: Measure, row: str) -> bool:
        return owner(row, self.measures) is measure

    def _refuse_no_layer(self, measure: Measure) -> None:
        """Raises a ValueError with the reasons, if it is for reasons that the measure has no layer."""
        reasons = self._inapplicable(measure)
        layers: dict[str, list[str]] = {}
        for (layer, _), reason in reasons.items():
            layers.setdefault(reason.rstrip("."), []).append(layer)
        if reasons:
            shown = ". ".join(f"{listed(names)}: {reason}" for reason, names in list(layers.items())[:3])
            raise ValueError(f"{measure.label} applies to none of the {len(reasons)} layers. {shown}.")

    def skipped(self, measure: Measure) -> list[dict[str, Any]]:
        """The layers to which the measure does not apply, with the reason."""
        own = measure.label
        return [
            {"measure": own, "layer": layer, "call": call, "reason": f"{own}: {reason}"}
            for (layer, call), reason in self._inapplicable(measure).items()
        ]

    def _inapplicable(self, measure: Measure) -> dict[LayerKey, str]:
        found: dict[LayerKey, str] = {}
        for (key, statistic), reason in self.run.inapplicable.items():
            if statistic in measure.statistics():
                found.setdefault(key, reason)
        return found

    def _layers(self, measure: Measure) -> Iterator[tuple[LayerKey, LayerKey]]:
        """(layer, layer whose states it shares), in the order in which they run."""
        if measure.scope == "output":
            if all((OUTPUT, statistic) in self.run.states for statistic in measure.statistics()):
                yield OUTPUT, OUTPUT
            return
        for info in self.run.inspection.layers:
            key = (info.layer, info.call)
            source = self.run.aliases.get(key, key)
            if all((source, statistic) in self.run.states for statistic in measure.statistics()):
                yield key, source

    def _layer(self, measure: Measure, key: LayerKey, source: LayerKey) -> None:
        if key != source:
            self._repeat(measure, key, source)
            return
        whole = self._stratum(source, measure, None)
        self._add(measure, key, whole, self._evaluate(measure, source, whole))
        if self.run.strata.by_class:
            self._classes(measure, key)

    def _repeat(self, measure: Measure, key: LayerKey, source: LayerKey) -> None:
        """A view of an earlier layer has that layer's numbers."""
        layer, call = key
        same = [row for row in self.rows if (row["layer"], row["call"]) == source]
        own = [row for row in same if self._owns(measure, row["measure"])]
        self.rows += [{**row, "layer": layer, "call": call} for row in own]
        self.curves += [
            {**point, "layer": layer, "call": call}
            for point in self.curves
            if (point["layer"], point["call"]) == source and self._owns(measure, point["measure"])
        ]
        for (name, named, stratum, number), array in list(self.maps.items()):
            if (named, number) == source and self._owns(measure, name):
                shape = self._shape(key)
                fits = array.size == int(np.prod(shape))
                self.maps[name, layer, stratum, call] = array.reshape(shape) if fits else array

    def _shape(self, key: LayerKey) -> tuple[int, ...]:
        return next(info.shape for info in self.run.inspection.layers if (info.layer, info.call) == key)

    def _classes(self, measure: Measure, key: LayerKey) -> None:
        found: list[tuple[Stratum, Mapping[str, Values]]] = []
        for value in self.labelling.ranked(self.run.strata.classes):
            number = self.run.strata.classes[value]
            stratum = self._stratum(key, measure, number, label=self._class_label(value))
            if stratum.sizes.sum() >= 2:
                found.append((stratum, self._evaluate(measure, key, stratum)))
                self._add(measure, key, *found[-1])
            elif key == self._first_layer():
                self.run.notes.append(f"class {stratum.label} has fewer than two samples and is left out")
        if found:
            self._mean_row(measure, key, found)

    def _first_layer(self) -> LayerKey:
        return next(iter(self.run.states))[0]

    def _class_label(self, value: int) -> str:
        label = self.labelling.name(value)
        return f"class {label}" if label in ("all", "mean") else label

    def _stratum(
        self, source: LayerKey, measure: Measure, number: int | None, *, label: str = "all"
    ) -> Stratum:
        members = self.run.strata.members(number)
        # Sizes are those of the statistic across samples, the last one that the measure names.
        counts = self.run.states[source, measure.statistics()[-1]].counts
        sizes = np.array([counts[group].sum() for group in members])
        why, clusters = self.run.strata.why, self.run.independent(members)
        return Stratum(label, members, sizes, self.run.reach, why, clusters)

    def _evaluate(self, measure: Measure, key: LayerKey, stratum: Stratum) -> Mapping[str, Values]:
        return self._evaluated(measure, measure.statistics(), key, stratum, whole=bool(stratum.reason))

    def _evaluated(
        self,
        measure: Measure,
        statistics: tuple[Statistic, ...],
        key: LayerKey,
        stratum: Stratum,
        *,
        whole: bool,
    ) -> Mapping[str, Values]:
        """Values from the given statistics; without those of groups left out if only the `whole` counts."""
        groups = stratum.members
        if whole:
            groups = [[bucket for group in stratum.members for bucket in group]]
        finals = {s: _finalize(self.run, key, s, groups) for s in dict.fromkeys(statistics)}
        state = self.run.states[key, statistics[0]]
        dead = self.dead.get((key, measure.statistics()[-1]))
        shape, reference = getattr(state, "shape", ()), self.references.get(key)
        context = LayerContext(
            *key, shape, reference, dead, self.run.input_shape, identity=self.transform.identity
        )
        return measure.evaluate(tuple(finals[s] for s in statistics), context)

    def _add(self, measure: Measure, key: LayerKey, stratum: Stratum, outputs: Mapping[str, Values]) -> None:
        rows, points, floors = len(self.rows), len(self.curves), self._floors(measure, key, stratum)
        self._add_outputs(measure, key, stratum, outputs)
        for row in self.rows[rows:]:
            if (own := floors.get(measure.output_of(row["measure"]))) is not None:
                row["floor"] = float(layer_replicates(own)[0])
        for point in self.curves[points:] if floors else ():
            along = floors.get(measure.output_of(point["measure"]))
            if isinstance(along, ElementValues):
                point["floor"] = float(along.values[0, point["element"]])

    def _floors(self, measure: Measure, key: LayerKey, stratum: Stratum) -> dict[str, Values]:
        """By output: the same value over round trips, where they were forwarded."""
        statistics = tuple(OnRoundTrip(statistic) for statistic in measure.statistics())
        if not all((key, statistic) in self.run.states for statistic in statistics):
            return {}
        found = self._evaluated(measure, statistics, key, stratum, whole=True)
        return {
            output: values
            for output, values in found.items()
            if measure.output(output).floor and not isinstance(values, CurveValues)
        }

    def _add_outputs(
        self, measure: Measure, key: LayerKey, stratum: Stratum, outputs: Mapping[str, Values]
    ) -> None:
        for output, values in outputs.items():
            name, bounds = measure.row_name(output), measure.output(output).range
            if isinstance(values, UnitValues):
                self._add_units(measure, name, key, stratum, values)
            elif isinstance(values, LayerValues):
                reaching = replace(stratum, reach=stratum.reach * values.reach)
                row = row_of(
                    name, key, reaching, len(self.transform), values.values, None, bounds, values.uncovered
                )
                row |= {"null": values.null} | left_out([values])
                self.rows.append(with_note(row, values.note))
            elif isinstance(values, CurveValues):
                self._add_own_curve(measure, name, key, stratum, values)
            else:
                self._add_curve(measure, name, key, stratum, values)

    def _add_units(
        self, measure: Measure, name: str, key: LayerKey, stratum: Stratum, values: UnitValues
    ) -> None:
        bounds = measure.output(measure.output_of(name)).range
        own = (values.layer_values(), values.ratio, bounds, values.uncovered)
        reaching = replace(stratum, reach=stratum.reach * values.reach)
        row = row_of(name, key, reaching, len(self.transform), *own)
        row |= {} if np.isfinite(row["value"]) else {"note": NO_UNIT}
        row |= {
            "null": values.layer_null(),
            "units": values.units,
            "dead_units": values.dead,
            "sparse_units": values.sparse,
            "infinite_units": values.infinite,
            "counted_units": int(values.counted.sum()),
        }
        row |= {"masked_units": values.masked} if values.masked else {}
        self.rows.append(with_note(row, values.note))
        self.maps[name, key[0], stratum.label, key[1]] = self._stored(values.values[0], key, measure)

    def _stored(self, values: np.ndarray, key: LayerKey, measure: Measure) -> np.ndarray:
        """Maps keep the precision of the activations: float32 for float32, unless its range is too small."""
        double = getattr(self.run.states[key, measure.statistics()[0]], "double", True)
        return np.array(values, np.float64 if double or beyond_float32(values) else np.float32, order="C")

    def _add_curve(
        self, measure: Measure, name: str, key: LayerKey, stratum: Stratum, values: ElementValues
    ) -> None:
        bounds = measure.output(measure.output_of(name)).range
        self.rows.append(
            row_of(
                name,
                key,
                stratum,
                len(self.transform),
                layer_replicates(values),
                None,
                bounds,
                values.uncovered,
            )
            | {"units": values.values.shape[1], "dead_units": 0, "sparse_units": 0}
        )
        parameter, points = self._elements()
        kept = values.values[:1] if values.uncovered else values.values
        if values.rare is not None:
            kept = kept.copy()
            kept[1:, values.rare] = np.nan
        self._add_points(name, key, stratum, kept, parameter, points, bounds)

    def _add_own_curve(
        self, measure: Measure, name: str, key: LayerKey, stratum: Stratum, values: CurveValues
    ) -> None:
        """A curve along an axis of its own, and where there are any, those of the units as a map."""
        bounds = measure.output(measure.output_of(name)).range
        parameter, points = values.parameter, tuple(zip(values.labels, values.x, strict=True))
        if parameter == BY_ELEMENT:
            parameter, points = self._elements()
        self._add_points(name, key, stratum, values.values, parameter, points, bounds)
        if values.units is not None:
            self.maps[name, key[0], stratum.label, key[1]] = self._stored(values.units, key, measure)

    def _elements(self) -> tuple[str, tuple[tuple[str, float], ...]]:
        """What elements differ by, and their labels and places on that axis."""
        parameter, xs = next(iter(self.transform.parameters.items()), (BY_ELEMENT, None))
        places = xs or tuple(range(len(self.transform)))
        return parameter, tuple(zip(self.transform.labels, map(float, places), strict=True))

    def _add_points(
        self,
        name: str,
        key: LayerKey,
        stratum: Stratum,
        values: np.ndarray,
        parameter: str,
        points: tuple[tuple[str, float], ...],
        bounds: tuple[float, float],
    ) -> None:
        for number, (label, x) in enumerate(points[: values.shape[1]]):
            interval = interval_of(values[:, number], stratum, bounds)
            self.curves.append(
                {
                    **dict(zip(("layer", "call"), key, strict=True)),
                    "measure": name,
                    "stratum": stratum.label,
                    "element": number,
                    "label": label,
                    "parameter": parameter,
                    "x": x,
                    "value": float(values[0, number]),
                    **interval.columns,
                    "samples": int(stratum.sizes.sum()),
                }
            )

    def _mean_row(
        self, measure: Measure, key: LayerKey, found: list[tuple[Stratum, Mapping[str, Values]]]
    ) -> None:
        """Mean over classes: of layer values, and of maps where they are finite."""
        reason = next((s.reason for s, _ in found if s.reason), "")
        sizes = np.sum([stratum.sizes for stratum, _ in found], axis=0)
        for output in (n for n in found[0][1] if measure.output(n).kind != "position"):
            parts = [outputs[output] for _, outputs in found]
            name = measure.row_name(output)
            units = [part for part in parts if isinstance(part, UnitValues)]
            if len(units) < len(parts) and not all(isinstance(part, LayerValues) for part in parts):
                continue
            stratum = Stratum("mean", [], sizes, self.run.reach)
            row = self._mean_values(measure, name, key, parts, stratum, reason) | left_out(parts)
            row |= self._mean_floor(name, key, [part.label for part, _ in found])
            if units:
                columns, merged = mean_units(units)
                row |= columns
                self.maps[name, key[0], "mean", key[1]] = self._stored(merged, key, measure)
            self.rows.append(row)

    def _mean_floor(self, name: str, key: LayerKey, classes: list[str]) -> dict[str, float]:
        """The mean of the classes' floors, where there are any."""
        same = [r for r in self.rows if r["measure"] == name and (r["layer"], r["call"]) == key]
        floors = [row["floor"] for row in same if row["stratum"] in classes and "floor" in row]
        return {"floor": float(finite_mean(np.array(floors)[:, None])[0])} if floors else {}

    def _mean_values(
        self, measure: Measure, name: str, key: LayerKey, parts: list[Any], stratum: Stratum, reason: str
    ) -> dict[str, Any]:
        replicates = 1 if reason else 1 + GROUPS
        layer = mean_over_classes(np.stack([layer_replicates(part)[:replicates] for part in parts]))
        ratios = [
            part.ratio[:replicates]
            for part in parts
            if isinstance(part, UnitValues) and part.ratio is not None
        ]
        ratio = mean_over_classes(np.stack(ratios)) if ratios else None
        bounds = measure.output(measure.output_of(name)).range
        uncovered = next((part.uncovered for part in parts if part.uncovered), "")
        widest = max(getattr(part, "reach", 1.0) for part in parts)
        stratum = replace(stratum, reach=stratum.reach * widest)
        row = row_of(name, key, stratum, len(self.transform), layer, ratio, bounds, uncovered)
        return row | {"note": why_none(uncovered, reason)} if reason else row


def _finalize(run: Run, key: LayerKey, statistic: Any, groups: list[list[int]]) -> Any:
    """Final values, computed once for all measures that share the statistic."""
    cache = run.__dict__.setdefault("_finals", {})
    token = (key, statistic, tuple(map(tuple, groups)))
    if token not in cache:
        # Only the current layer's finals are worth keeping: each is as large as the layer's maps.
        if any(known[0] != key for known in cache):
            cache.clear()
        cache[token] = statistic.finalize(run.states[key, statistic], groups)
    return cache[token]
