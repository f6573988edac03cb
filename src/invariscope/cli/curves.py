"""Curves as tables in the terminal: epochs in columns, radii in rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from invariscope.cli.tables import Fixed, plain_table
from invariscope.plots.shared.labels import headline_first, layer_label, measure_title, number, row_interval
from invariscope.plots.stability_curves import MOST_LAYERS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from rich.table import Table

    from invariscope.monitor.history import History
    from invariscope.results.result import Result

MOST_COLUMNS = 8
RESPONSES = {
    "D": "deformed (D)",
    "G": "noise (G)",
    "R": "R = D/G",
    "G_toward": "toward another",
    "G_over_r2": "G / r²",
}
ACCURACIES = {"accuracy": "deformed", "accuracy_noise": "noise", "accuracy_toward": "toward another"}
RADIUS = (
    "the radius is the L2 norm of the change of an input over all its values (pixels and channels), in the "
    "units of the model's input; root mean square over samples"
)
BUMPS = {
    "stability_curve.bump": "deformed",
    "stability_curve.bump_noise": "noise",
    "stability_curve.bump_toward": "toward another",
}


def curve_tables(history: History) -> Iterator[Table]:
    """Yield one table per measure, with the values over all samples."""
    rows = history.table.query("stratum == 'all'")
    for measure in headline_first(rows["measure"]):
        yield _curves(rows.query("measure == @measure"), measure)


def _curves(rows: pd.DataFrame, measure: str) -> Table:
    epochs = spread(sorted(set(rows["epoch"])))
    places = zip(rows["layer"], rows["call"], rows["epoch"], strict=True)
    values = dict(zip(places, rows["value"], strict=True))
    layers = list(dict.fromkeys((layer, call) for layer, call, _ in values))
    fixed = Fixed.of(rows["value"])
    cells = [
        [layer_label(*layer), *(fixed(values.get((*layer, epoch), math.nan)) for epoch in epochs)]
        for layer in layers
    ]
    return plain_table(f"{measure_title(measure)} over epochs", ["layer", *map(str, epochs)], cells)


def spread(epochs: Sequence[int], *, most: int = MOST_COLUMNS) -> list[int]:
    """Return all epochs, or at most `most` of them, evenly spaced from the first to the last.

    >>> spread(range(100), most=4)
    [0, 33, 66, 99]
    """
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[place] for place in np.linspace(0, len(epochs) - 1, most).round().astype(int)]


def radius_tables(result: Result) -> Iterator[Table]:
    """Yield a table of the output's response at some radii and, if there are labels, one of the accuracy."""
    response = f"Squared response of {result.name}, relative to another sample"
    for title, columns in ((response, RESPONSES), (f"Accuracy of {result.name}", ACCURACIES)):
        yield from _radii(result, title, columns)


def _radii(
    result: Result, title: str, columns: Mapping[str, str], *, most: int = MOST_COLUMNS
) -> Iterator[Table]:
    """Yield a table of these columns at some radii, unless none of them was measured."""
    own = (row for row in result.curve_rows if row["stratum"] == "all")
    rows = [row for row in own if row["measure"].startswith("stability_curve.")]
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        curves.setdefault(row.output, {})[row["element"]] = row["value"]
    radius = {row["element"]: row["x"] for row in rows}
    shown = [name for name in columns if name in curves]
    cells = [
        [number(radius[element]), *(number(curves[name][element]) for name in shown)]
        for element in spread(sorted(radius, key=lambda element: radius[element]), most=most)
    ]
    if shown:
        yield plain_table(title, ["radius", *(columns[name] for name in shown)], cells, text=0)


def radius_remarks(result: Result, out: Path) -> list[str]:
    """Return remarks on the radius, on omitted radii, and on where to find the curves of layers."""
    own = [row for row in result.curve_rows if row["measure"].partition(".")[0].endswith("stability_curve")]
    count = len({row["element"] for row in own})
    layers = {(row["layer"], row["call"]) for row in own if row["measure"].startswith("layer_")}
    found = [RADIUS]
    if count > MOST_COLUMNS:
        found.append(f"{MOST_COLUMNS} of the {count} radii are shown; the report has all of them")
    if layers:
        drawn = (
            f"; the report draws {MOST_LAYERS} of them" if len(layers) > MOST_LAYERS else " and the report"
        )
        table = f"`iv.load({str(out)!r}).curves` (such as `layer_stability_curve.D`)"
        many = "layers" if len(layers) > 1 else "layer"
        found.append(f"the curves of {len(layers)} {many} are in {table}{drawn}")
    return found


def bump_table(result: Result) -> Table:
    """Return a table of the radius at which half of the predictions have flipped."""
    rows = {row["measure"]: row for row in result.rows}
    cells = [
        [way, _reached(rows[name]["value"]), row_interval(rows[name])]
        for name, way in BUMPS.items()
        if name in rows
    ]
    return plain_table("Half of the predictions flip", ["", "from radius", "95 % interval"], cells)


def _reached(radius: float) -> str:
    return "never" if math.isnan(radius) else number(radius)


def overhead_text(history: History) -> str:
    """Return a sentence on how much time measuring added to the training."""
    times = history.times
    measured = times["measured"].sum()
    seconds = f"{times['measuring_seconds'].sum():.1f} s for {measured} measurements"
    if not math.isfinite(history.overhead):
        return f"measuring took {seconds}"
    return f"measuring took {history.overhead:.1%} of the training time ({seconds})"
