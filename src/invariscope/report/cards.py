"""Cards of results and comparisons, which notebooks display: see `common.cards`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.cards import MOST_ROWS, Card, Table
from invariscope.common.sparkline import Sparkline
from invariscope.common.wording import alike, shorten, shorten_all
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.digits import Fixed, probability
from invariscope.report import captions, findings
from invariscope.results.readable import readable, shown_name
from invariscope.results.rows import PLACE, layer_keys

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

_LONGEST_LAYER = 60
_MOST_FINDINGS, _MOST_REASONS, _MOST_EPOCHS = 3, 2, 5


def result_card(result: Result) -> Card:
    """Return the card of a result: the main finding, its values by layer, and where the rest is."""
    whole = readable(_over_all_samples(result))
    measure = findings.main_measure([whole])
    first, *others = findings.sentences([whole], None) or [result.name]
    rows = _main_rows(whole, measure)
    return Card(
        first,
        _facts(whole),
        _profile(rows, measure) if measure and len(rows) > 2 else "",
        _values(whole, rows, measure),
        [*others[:_MOST_FINDINGS], *_missing_intervals(whole, rows), *_apart(result), _rest(result)],
    )


def comparison_card(table: pd.DataFrame, transform: str) -> Card:
    """Return the card of a comparison: how many layers differ, and the differences of the main measure.

    Args:
        table: rows of `iv.compare`.
        transform: the transform's family in words.
    """
    table = _with_distinct_names(table)
    measure = names.headline_first(table["measure"])[0]
    own = names.where(table, measure=measure, stratum="all")
    pairs = [names.where(own, b=b) for b in dict.fromkeys(own["b"])]
    sentences = [findings.compared(pair, measure, transform) for pair in pairs]
    shown = [row for pair in pairs for row in _thinned(_records(pair), "difference", MOST_ROWS // len(pairs))]
    said = list(map(names.with_names, own["note"], own["a"], own["b"]))
    gaps = captions.of_differences(own.assign(label=names.layer_labels(own), note=said))
    rest = f"{_count(len(table), 'row')} in all: {_spanned(table)}."
    other = own["b"].iloc[0] if len(pairs) == 1 else "other"
    between = f"difference = {other} − {own['a'].iloc[0]}" if pairs else ""
    return Card(
        sentences[0] if sentences else f"{_count(len(table), 'row')} of paired differences.",
        [text for text in (names.measure_title(measure), between) if text],
        _differences(_records(pairs[0])) if len(pairs) == 1 else "",
        _paired(shown, len(own), several=len(pairs) > 1),
        [*sentences[1 : 1 + _MOST_FINDINGS], *filter(None, [gaps]), rest],
    )


def epochs_card(rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> Card:
    """Return the card of measurements over the epochs of a training run.

    Args:
        rows: rows of results, each with its `epoch`.
        remarks: lines on where the rest is.
    """
    overall = [row for row in rows if row["stratum"] == "all" and math.isfinite(row["value"])]
    if not overall:
        return Card("No layer has a value.", remarks=remarks)
    measure = names.headline_first(row["measure"] for row in overall)[0]
    title = names.measure_title(measure)
    values: dict[str, dict[int, float]] = {}
    for row in overall:
        if row["measure"] == measure:
            label = shown_name(names.layer_label(row["layer"], row["call"]))
            values.setdefault(label, {})[row["epoch"]] = row["value"]
    epochs = sorted({epoch for own in values.values() for epoch in own})
    fixed = Fixed.of(value for own in values.values() for value in own.values())
    last, own = list(values.items())[-1]
    line, none = [own.get(epoch, math.nan) for epoch in epochs], [math.nan] * len(epochs)
    ends = f"epoch {epochs[0]}", f"epoch {epochs[-1]}"
    return Card(
        f"{title} of {last}: {fixed(line[0])} at {ends[0]}, {fixed(line[-1])} at {ends[1]}",
        (_count(len(epochs), "measured epoch"), _count(len(values), "layer")),
        Sparkline(line, none, none, math.nan, ends, f"{title} of {last} by epoch").html(),
        _by_epoch(values, epochs, fixed, title),
        remarks,
    )


def _by_epoch(values: dict[str, dict[int, float]], epochs: list[int], fixed: Fixed, title: str) -> Table:
    chosen = [epochs[k] for k in _spaced(len(epochs), _MOST_EPOCHS)]
    layers = [list(values)[k] for k in _spaced(len(values), MOST_ROWS)]
    columns = [("layer", "name"), *((f"epoch {epoch}", "number") for epoch in chosen)]
    cells = [[layer, *(fixed(values[layer].get(epoch, math.nan)) for epoch in chosen)] for layer in layers]
    shown = _part(len(chosen), len(epochs), "epoch")
    return Table(f"{title}, {_part(len(layers), len(values), 'layer')} at {shown}", columns, cells)


def _spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers 0 to count − 1, evenly spaced, with both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _with_distinct_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which names can be shown, and models of the same name are numbered."""
    pair = table.groupby([*PLACE, "b"], sort=False).cumcount()
    again = (pair.max() > 0) | (table["a"] == table["b"])
    shown = {
        "layer": table["layer"].map(_short),
        "a": (table["a"] + " (1)").where(again, table["a"]),
        "b": (table["b"] + " (" + (pair + 2).astype(str) + ")").where(again, table["b"]),
    }
    return table.assign(**{name: list(map(shown_name, column)) for name, column in shown.items()})


def _over_all_samples(result: Result) -> Result:
    """Return the rows over all samples, with short names and without maps.

    With 100 classes, this is 1 % of the rows.
    """
    rows, points = (
        tuple(replace(row, layer=_short(row.layer)) for row in several if row.stratum == "all")
        for several in (result.rows, result.curve_rows)
    )
    rest = {"baseline_rows": (), "arrays": {}, "examples": {}, "shard": None}
    return replace(result, rows=rows, curve_rows=points, **rest)


def _short(layer: str) -> str:
    return shorten(shown_name(layer), _LONGEST_LAYER)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    labels = names.layer_labels(rows)
    return [{**row, "label": label} for row, label in zip(rows.to_dict("records"), labels, strict=True)]  # type: ignore[misc]


def _main_rows(result: Result, measure: str | None) -> list[dict[str, Any]]:
    """Return the rows of the main measure or, if it has a single one, of all measures."""
    if measure is None:
        return []
    rows = _records(names.rows_of(result, measure))
    return rows if len(rows) > 1 else _records(names.for_tables(result.table, [result]))


def _thinned(rows: list[dict[str, Any]], column: str, most: int = MOST_ROWS) -> list[dict[str, Any]]:
    """Return at most `most` rows: block outputs of deep networks, evenly spaced, and both extremes."""
    if len(rows) <= most:
        return rows
    known = [k for k, row in enumerate(rows) if math.isfinite(row[column])]
    kept = {pick(known, key=lambda k: rows[k][column]) for pick in (min, max)} if known else set()
    places = np.flatnonzero(shown_layers([row["label"] for row in rows]))
    choices = (kept | set(places[_spaced(len(places), count)].tolist()) for count in range(most, 0, -1))
    chosen = next((choice for choice in choices if len(choice) <= most), kept)
    return [rows[k] for k in sorted(chosen)]


def _facts(result: Result) -> list[str]:
    """Return the model, the data and the transform."""
    data, transform = (result.provenance.get(part) or {} for part in ("data", "transform"))
    count, elements = data.get("samples"), len(transform.get("labels") or ())
    facts = [result.name, str(data.get("name") or ""), _count(count, "sample") if count else ""]
    moved = findings.transform_name(result) if transform else ""
    facts.append(f"{moved}, {_count(elements, 'element')}" if moved and elements else moved)
    return [fact for fact in facts if fact]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _profile(rows: list[dict[str, Any]], measure: str) -> str:
    nulls = [row["null"] for row in rows if math.isfinite(row["null"])]
    null = nulls[0] if nulls and max(nulls) - min(nulls) < 0.01 * max(map(abs, nulls)) else math.nan
    return _line(rows, "value", null, f"{names.measure_title(measure)} by layer")


def _differences(rows: list[dict[str, Any]]) -> str:
    return _line(rows, "difference", math.nan, "Difference by layer")


def _line(rows: list[dict[str, Any]], column: str, reference: float, title: str) -> str:
    values, low, high = ([row[name] for row in rows] for name in (column, "ci_low", "ci_high"))
    return Sparkline(values, low, high, reference, (rows[0]["label"], rows[-1]["label"]), title).html()


def _values(result: Result, rows: list[dict[str, Any]], measure: str | None) -> Table | None:
    if measure is None:
        return None
    shown, places = _thinned(rows, "value"), names.positions([result])
    alone = all(row["measure"] == measure for row in rows)
    fixed = Fixed(0) if measure in places else Fixed.of(row["value"] for row in rows if alone)
    shared, columns = {}, [("layer", "name"), ("value", "number"), ("95 % interval", "number")]
    columns = columns if alone else [("measure", "name"), *columns]
    cells = [_numbers(row, fixed if alone else Fixed.of([row["value"]]), alone=alone) for row in shown]
    for name, texts in (("null", [fixed(row["null"]) for row in shown]), ("samples", _samples(shown))):
        if len(set(texts)) == 1:
            shared[name] = texts[0]
        else:
            columns.append((name, "number"))
            cells = [[*cell, text] for cell, text in zip(cells, texts, strict=True)]
    what = f"{names.measure_title(measure)} of " if alone else ""
    same = "".join(f"; {name} {text}" for name, text in shared.items() if text != "–")
    caption = f"{what}{_part(len(shown), len(rows), 'layer' if alone else 'value')}{same}"
    return Table(caption, columns, cells)


def _samples(rows: list[dict[str, Any]]) -> list[str]:
    return ["–" if math.isnan(row["samples"]) else f"{int(row['samples']):,}" for row in rows]


def _numbers(row: dict[str, Any], fixed: Fixed, *, alone: bool) -> list[str]:
    measure = [] if alone else [names.measure_title(row["measure"])]
    return [*measure, row["label"], fixed(row["value"]), fixed.row_interval(row)]


def _part(shown: int, total: int, thing: str) -> str:
    return _count(total, thing) if shown == total else f"{shown} of {_count(total, thing)}"


def _paired(rows: list[dict[str, Any]], total: int, *, several: bool) -> Table:
    first, second = (rows[0][name] for name in ("a", "b")) if rows else ("", "")
    fixed = Fixed.of(row[name] for row in rows for name in ("value_a", "value_b"))
    cells = [
        [
            row["label"],
            *([row["b"]] if several else []),
            fixed(row["value_a"]),
            fixed(row["value_b"]),
            fixed(row["difference"], sign="+"),
            fixed.row_interval(row, value="difference", sign="+"),
            probability(row["p_holm"]),
        ]
        for row in rows
    ]
    compared = [("other", "name"), (shorten(first, 20), "number"), ("other value", "number")]
    pair = [(name, "number") for name in shorten_all([first, second], 20)]
    columns = [("layer", "name"), *(compared if several else pair), ("difference", "number")]
    columns += [("95 % interval", "number"), ("p (Holm)", "number")]
    return Table(_part(len(rows), total, "difference"), columns, cells)


def _missing_intervals(result: Result, rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return why values have no interval, each reason with its number of values."""
    missing = [row for row in rows if math.isfinite(row["value"]) and math.isnan(row["ci_low"])]
    if missing and (result.provenance.get("options") or {}).get("intervals") is False:
        return ["No intervals were computed (`intervals=False`)."]
    notes = (row["note"] for row in missing if row["note"])
    reasons = alike(captions.reason_of(note) or note for note in notes)
    unexplained = len(missing) - sum(len(places) for _, places in reasons)
    found = [
        f"{_part(len(places), len(rows), 'value')} without an interval: {reason}."
        for reason, places in sorted(reasons, key=lambda kind: -len(kind[1]))[:_MOST_REASONS]
    ]
    if unexplained and not found:
        return [f"{_part(unexplained, len(rows), 'value')} without an interval."]
    return found


def _apart(result: Result) -> list[str]:
    """Return a line on the values that lie outside their own interval, if any."""
    apart = sum(names.outside(row.value, row.ci_low, row.ci_high) for row in result.rows)
    lie = f"{apart} of {len(result.rows)} values lie outside their own interval"
    return [f"{lie}; `corrected` in `.table` is the estimate at its centre."] if apart else []


def _rest(result: Result) -> str:
    """Return a line on where the rest is."""
    cautions = sum(1 for row in result.rows if row.caution)
    skipped = len(result.provenance.get("skipped") or ())
    parts = [
        f"`.table` has {_count(len(result.rows), 'row')} ({_spanned_rows(result)})",
        f"`.curves` {_count(len(result.curve_rows), 'point')}" if result.curve_rows else "",
        f"`.maps` {_count(len(result.arrays), 'map')} of single units" if result.arrays else "",
        f"`.cautions` {_count(cautions, 'row')}" if cautions else "",
        f"`.provenance['skipped']` {_count(skipped, 'layer')}" if skipped else "",
        "`.report()` writes all of it to a page",
    ]
    return "; ".join(part for part in parts if part) + "."


def _spanned_rows(result: Result) -> str:
    measures, strata = (len({getattr(row, name) for row in result.rows}) for name in ("measure", "stratum"))
    return _product(measures, len(layer_keys(result.rows)), strata)


def _spanned(table: pd.DataFrame) -> str:
    measures, strata, pairs = (len(set(table[name])) for name in ("measure", "stratum", "b"))
    layers = len(set(names.layer_labels(table)))
    span = _product(measures, layers, strata)
    return span if pairs == 1 else f"{span} × {pairs} pairs"


def _product(measures: int, layers: int, strata: int) -> str:
    parts = _count(measures, "measure"), _count(layers, "layer")
    return " × ".join([*parts, *([f"{strata:,} strata"] if strata > 1 else [])])
