"""Paired differences between results: a chart and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.wording import shorten_all
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.digits import probability
from invariscope.report import captions
from invariscope.report.figures import Charts
from invariscope.report.tables import Table, build

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

COLUMNS = (
    ("b", "Network", "text", "name of the network"),
    ("a", "Compared with", "text", "the first network"),
    ("label", "Layer", "text", "layers in the order in which they run"),
    ("measure", "Measure", "text", "name of the measure"),
    ("stratum", "Samples of", "text", "all samples, one class, or the mean over classes"),
    ("value_a", "First", "number", "value in the first network"),
    ("value_b", "Other network", "number", "value in the second network"),
    ("value", "Difference", "number", "second minus first, on the same samples"),
    (
        "ci",
        "95 % interval",
        "interval",
        "of the difference; narrower than the two separate intervals suggest",
    ),
    ("p", "p", "p", "p-value of no difference, for this row alone"),
    (
        "p_holm",
        "p (Holm)",
        "p",
        "adjusted (Holm) for the number of rows with the same measure and samples",
    ),
    ("note", "Note", "text", "why a number or an interval is missing"),
)


@dataclass(frozen=True)
class Differences:
    """Paired differences, or the reason why there are none.

    Args:
        rows: the table of `invariscope.compare`, with a `label` per layer; None without a comparison.
        reason: why there is no comparison; empty for a single result.
        charts: one (menu entry, HTML id, measure, first network, other network) per chart.
        gaps: by HTML id of a chart, how many differences have no interval, and why.
    """

    rows: pd.DataFrame | None
    reason: str
    charts: tuple[tuple[str, str, str, str, str], ...] = ()
    gaps: Mapping[str, str] = field(default_factory=dict)


def compare_all(results: Sequence[Result]) -> Differences:
    """Compare every result with the first, or return the reason why they cannot be paired."""
    from invariscope.results.compare import compare

    if len(results) < 2:
        return Differences(None, "")
    named = zip(names.model_names(results), results, strict=True)
    try:
        rows = compare([result.labelled(name) for name, result in named])
    except ValueError as error:
        return Differences(None, str(error))
    rows = names.for_tables(rows, results)
    rows["label"] = names.layer_labels(rows)
    rows["note"] = list(map(names.with_names, rows["note"], rows["a"], rows["b"]))
    shown = _chart_list(rows, several=len(results) > 2)
    gaps = {
        target: captions.of_differences(_selected(rows, measure, a, b)) for _, target, measure, a, b in shown
    }
    return Differences(rows, "", shown, gaps)


def _chart_list(rows: pd.DataFrame, *, several: bool) -> tuple[tuple[str, str, str, str, str], ...]:
    shown = rows[(rows["stratum"] == "all") & rows["difference"].notna()]
    groups = {str(m): part for m, part in shown.groupby("measure", sort=False) if len(part) > 1}
    found = []
    for measure in names.headline_first(groups):
        for a, b in dict.fromkeys(zip(groups[measure]["a"], groups[measure]["b"], strict=True)):
            label = names.measure_title(measure) + (f" · {b}" if several else "")
            found.append((label, f"difference-{len(found)}", measure, str(a), str(b)))
    return tuple(found)


def charts(differences: Differences) -> Charts:
    """Return the charts; those of deep networks show the outputs of blocks, and all layers on request."""
    assert differences.rows is not None
    found = Charts()
    for _, target, measure, a, b in differences.charts:
        rows = _selected(differences.rows, measure, a, b)
        kept = shown_layers(list(rows["label"]))
        whole = None if kept.all() else _chart(rows, a, b)
        found.put(target, _chart(rows.loc[kept], a, b), whole)
    return found


def _selected(rows: pd.DataFrame, measure: str, a: str, b: str) -> Any:
    return rows[
        (rows["stratum"] == "all") & (rows["measure"] == measure) & (rows["a"] == a) & (rows["b"] == b)
    ]


def _chart(rows: Any, a: str, b: str) -> Any:
    from bokeh.models import ColumnDataSource, Span

    from invariscope.plots.shared import interactive as live
    from invariscope.plots.shared import layer_axis

    labels, x = list(rows["label"]), np.arange(len(rows), dtype=float)
    chart = live.new_chart(height=260)
    chart.x_range, chart.y_range = live.fixed(-0.6, len(labels) - 0.4), live.fixed(*_reach(rows))
    chart.add_layout(live.themed(Span(location=0, dimension="width", line_width=1.5), line_color="muted"))
    spans = [names.row_interval(row, value="difference") for row in rows.to_dict("records")]
    source = ColumnDataSource(data={
        "x": x, "y": rows["difference"].to_numpy(float), "layer": labels,
        "low": rows["ci_low"].to_numpy(float), "high": rows["ci_high"].to_numpy(float),
        "text": list(map(names.number, rows["difference"])),
        "interval": spans, "p": [probability(v) for v in rows["p"]],
        "adjusted": [probability(v) for v in rows["p_holm"]],
    })  # fmt: skip
    bar = chart.segment("x", "low", "x", "high", source=source, line_width=2, line_alpha=0.6)
    dots = chart.scatter("x", "y", source=source, size=9)
    live.themed(bar.glyph, line_color="series:1")
    live.themed(dots.glyph, fill_color="series:1", line_color="surface")
    layer_axis.layer_columns(chart, labels)
    live.axis_title(chart.yaxis[0], " − ".join(shorten_all([b, a], 18)))
    live.hover_points(
        chart,
        source,
        {"layer": "@layer", "difference": "@text", "95 %": "@interval", "p": "@p", "p (Holm)": "@adjusted"},
        {"layer": "layer", "difference": "y", "low": "low", "high": "high"},
    )
    return chart


def _reach(rows: Any) -> tuple[float, float]:
    """Return the range of the axis, including zero; intervals much wider than the differences are cut off."""
    size = float(np.nanmax(np.abs(rows["difference"]))) or 1.0
    low = max(float(np.nanmin([*rows["ci_low"], *rows["difference"]])), -2.5 * size)
    high = min(float(np.nanmax([*rows["ci_high"], *rows["difference"]])), 2.5 * size)
    margin = 0.08 * (max(high, 0.0) - min(low, 0.0)) or 1.0
    return min(low, 0.0) - margin, max(high, 0.0) + margin


def table(differences: Differences, *, several: bool) -> Table | None:
    """Return the table of differences for the page's script; None without a comparison."""
    if differences.rows is None:
        return None
    rows = differences.rows.assign(value=differences.rows["difference"])
    measures = names.headline_first(rows["measure"])
    first, other = str(rows["a"].iloc[0]), str(rows["b"].iloc[0])
    titles = {"value_a": first, "value_b": "Other network" if several else other}
    columns = [(key, titles.get(key, label), kind, text) for key, label, kind, text in COLUMNS]
    return build(rows, columns, {"measure": measures[0], "stratum": "all"})
