"""Facts in the report: what was measured, how to read the numbers, and their provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from invariscope.common.wording import alike, listed
from invariscope.plots.shared import labels as names
from invariscope.report import stability
from invariscope.report.findings import main_measure
from invariscope.report.words import transform_name

if TYPE_CHECKING:
    from invariscope.results.result import Result

WORDS = {
    "layer": "The output of a module, or of an operation such as a sum. If a module runs several times, each "
    "call counts as a layer.",
    "value": "The mean over the units of a layer, without excluded units. Its 95 % interval is over samples "
    "only; the network and the elements of the transform are held fixed.",
    "interval": "The 95 % interval is over samples: if a measurement is repeated on other samples, 95 % of "
    "such intervals contain the value for all possible samples. It is a jackknife over eight groups of "
    "samples, and needs 64 samples.",
    "ratio": "The mean of the numerator over units, divided by the mean of the denominator. Units that "
    "respond strongly have more weight in the ratio than in the value. If ratio and value differ a lot, look "
    "at the spread within the layer.",
    "drawing error": "Large layers are measured on some of their units, drawn at random. This is the "
    "standard error that the draw causes; intervals include it.",
    "null": "The expected value if orbits consisted of unrelated samples. A value near its null means that "
    "the layer does not recognise an orbit as one sample.",
    "random nets": "The middle 95 % of the value over networks of the same architecture with random weights, "
    "on the same samples. A value within this range occurs without any training.",
    "floor": "The value that inexact elements alone cause, by interpolation or rounding, measured by "
    "transforming inputs and transforming them back.",
    "dead": "Units that respond to neither the transformation nor a change of sample. They are not evidence "
    "of invariance and are left out.",
    "sparse": "Units that respond to very few samples. Their values are mostly noise, so the units are left "
    "out of the mean; the table shows their number.",
    "class": "Rows of a class use only the samples of that class: variation between classes does not "
    "count as a change of sample.",
}


def networks(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return (name, description of the weights) per model; the description is empty if unknown."""
    return [
        (name, _weights(result)) for name, result in zip(names.model_names(results), results, strict=True)
    ]


def _weights(result: Result) -> str:
    said = str(result.provenance.get("model", {}).get("weights") or "")
    return said and f"weights: {said}"


def key_facts(results: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """Return headings with lines of text on what was measured; a line shared by all results appears once."""
    parts: dict[str, Callable[[Result], str]] = {
        "Data": _data,
        "Transform": _transform,
        "Inputs forwarded": _forwards,
        "Layers": _layers,
        "Seed": lambda result: str(result.provenance.get("seed", "")),
    }
    found = [(heading, _shared(results, say)) for heading, say in parts.items()]
    return [(heading, lines) for heading, lines in found if lines]


def _shared(results: Sequence[Result], say: Callable[[Result], str]) -> list[str]:
    lines = [say(result) for result in results]
    if len(set(lines)) == 1:
        return [lines[0]] if lines[0] else []
    named = zip(names.model_names(results), lines, strict=True)
    return [f"{name}: {line}" for name, line in named if line]


def _data(result: Result) -> str:
    data = result.provenance.get("data", {})
    shape = " × ".join(map(str, data.get("shape") or ()))
    classes = data.get("classes") or ()
    size = " ".join([
        f"{data['samples']:,} samples" if data.get("samples") else "",
        f"of {shape}" if shape else "",
        f"in {len(classes)} classes" if classes else "",
    ]).strip()  # fmt: skip
    return ", ".join(part for part in (str(data.get("name") or ""), size) if part)


def _transform(result: Result) -> str:
    labels = result.provenance.get("transform", {}).get("labels") or ()
    if stability.has_curves(result):
        return f"{transform_name(result)}, {len(labels)} sizes: radius {stability.radii(result)}"
    if not labels:
        return transform_name(result)
    listed = ", ".join(map(str, labels)) if len(labels) <= 5 else f"{labels[0]} … {labels[-1]}"
    return f"{transform_name(result)}, {len(labels)} element{'s' * (len(labels) > 1)}: {listed}"


def _forwards(result: Result) -> str:
    count = result.provenance.get("options", {}).get("forwarded_inputs")
    samples, elements = (int(max(row[name] for row in result.rows)) for name in ("samples", "elements"))
    crossed = f"{samples:,} samples × {elements} element{'s' * (elements > 1)}"
    if count is None:
        return crossed
    more = count - samples * elements
    extra = f", and {more:,} more for thresholds and comparisons" if more > 0 else ""
    return f"{count:,} ({crossed}{extra})"


def _layers(result: Result) -> str:
    measure = main_measure([result])
    rows = [row for row in result.rows if measure in (None, row["measure"])]
    count = len({(row["layer"], row["call"]) for row in rows})
    entries = result.provenance.get("skipped") or ()
    # Do not count layers that only other measures skipped.
    own = [e for e in entries if "measure" not in e or f"{measure}.".startswith(f"{e['measure']}.")]
    repeated = result.provenance.get("repeated") or ()
    repeats = f", {len(repeated)} with the values of another" if repeated else ""
    return f"{count} measured{repeats}" + (f", {len(own)} skipped" if own else "")


def words(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Return the terms that occur in the tables of these results, with their meanings."""
    tables = [result.table for result in results]
    present = {
        "interval": any(table["ci_low"].notna().any() for table in tables),
        "ratio": any(table["value_ratio"].notna().any() for table in tables),
        "drawing error": any((table["units_total"] > table["units"]).any() for table in tables),
        "null": any(table["null"].notna().any() for table in tables),
        "random nets": any(result.baseline["low"].notna().any() for result in results),
        "floor": any(table["floor"].notna().any() for table in tables),
        "dead": any((table["dead_units"] > 0).any() for table in tables),
        "sparse": any((table["sparse_units"] > 0).any() for table in tables),
        "class": any((~table["stratum"].isin(["all"])).any() for table in tables),
    }
    return [(word, text) for word, text in WORDS.items() if present.get(word, True)]


def provenance(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return each result's name, its record as (heading, text) lines, notes, skipped and unused layers."""
    return [
        {
            "name": name,
            "record": _record(result.provenance),
            "notes": [str(note) for note in result.provenance.get("notes") or ()] + _row_notes(result),
            "skipped": _skipped(result),
            "unused": [str(layer) for layer in result.provenance.get("unused") or ()],
        }
        for name, result in zip(names.model_names(results), results, strict=True)
    ]


def _record(record: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for key, value in record.items():
        if key in ("notes", "skipped", "unused", "dataflow"):
            continue
        if isinstance(value, dict) and key in ("versions", "model", "data"):
            lines.append(
                (key, ", ".join(f"{name} {_plain(entry)}" for name, entry in value.items() if entry))
            )
        elif key == "measures" and isinstance(value, dict):
            lines += [(f"measure {name}", _plain(_options(about))) for name, about in value.items()]
        elif key == "transform" and isinstance(value, dict):
            kept = {name: entry for name, entry in value.items() if name not in ("labels", "parameters")}
            lines.append((key, _plain(kept)))
        else:
            lines.append((key, _plain(value)))
    return lines


def _options(about: Any) -> Any:
    return about.get("options", about) if isinstance(about, dict) else about


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _row_notes(result: Result) -> list[str]:
    """Return each kind of note, with the number of rows that have it and the first of their layers."""
    table = result.notes
    labels = names.layer_labels(table)
    found = []
    for note, places in alike(table["note"]):
        rows = "1 row" if len(places) == 1 else f"{len(places):,} rows"
        found.append(f"{note} ({rows}: {listed(dict.fromkeys(labels[i] for i in places))})")
    return found


def _skipped(result: Result) -> list[tuple[str, str]]:
    """Return (layers, reason) for each kind of reason why layers were skipped."""
    entries = result.provenance.get("skipped") or ()
    labels = [names.layer_label(str(entry.get("layer")), int(entry.get("call") or 0)) for entry in entries]
    kinds = alike(str(entry.get("reason")) for entry in entries)
    return [(", ".join(dict.fromkeys(labels[i] for i in places)), reason) for reason, places in kinds]


def citation(results: Sequence[Result]) -> dict[str, str]:
    """Return the library's version, and a BibTeX entry for it."""
    version = str(results[0].provenance.get("versions", {}).get("invariscope") or "")
    year = str(results[0].provenance.get("created") or "")[:4]
    return {
        "version": version,
        "bibtex": "@software{invariscope,\n"
        "  title = {Invariscope: how a neural network's representations respond "
        "when its inputs are transformed},\n"
        "  author = {{The Invariscope authors}},\n"
        + (f"  version = {{{version}}},\n" if version else "")
        + (f"  year = {{{year}}},\n" if year.isdigit() else "")
        + "}",
    }
