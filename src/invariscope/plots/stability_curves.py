"""Stability against the size of the displacement, and images at the radius where predictions flip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, GridPlot, View
from invariscope.plots.shared.grid import PixelGrid, PixelRow, picture
from invariscope.plots.shared.theme import DASHES, LINE_STYLES

if TYPE_CHECKING:
    from bokeh.models import UIElement
    from matplotlib.figure import Figure

    from invariscope.results.result import Result

OUTPUT, PREFIX, EXAMPLES = "output", "stability_curve", "bump:"
MOST_LAYERS = 6
AXIS = "radius r (L2 norm of the change of an input)"


@dataclass(frozen=True)
class Shown:
    """What one picture shows: its menu entry, the y axis, curves and what they are called, its scale."""

    label: str
    axis: str
    curves: tuple[tuple[str, str], ...]
    logarithmic: bool = True


def _share(label: str, axis: str, curve: str) -> Shown:
    ways = (("", "deformed"), ("_noise", "noise"), ("_toward", "toward another"))
    return Shown(label, axis, tuple((curve + suffix, way) for suffix, way in ways), logarithmic=False)


SHOWN = {
    "response": Shown(
        "Response",
        "squared change, relative to another sample",
        (("D", "deformed (D)"), ("G", "noise (G)"), ("G_toward", "toward another")),
    ),
    "relative": Shown("D relative to G", "R = D/G", (("R", "R"),)),
    "linear": Shown("G over r²", "G / r²", (("G_over_r2", "noise"), ("G_toward_over_r2", "toward another"))),
    "accuracy": _share("Accuracy", "accuracy", "accuracy"),
    "probability": _share("Probability", "probability of the true class", "probability"),
    "flips": _share("Flips", "share of flipped predictions", "flips"),
}


@dataclass(frozen=True)
class RadiusSeries:
    """One curve, its name: a value at each radius, with its interval (NaN where none was issued)."""

    name: str
    radius: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class StabilityCurves(ChartPlot):
    """How far the response moves against how far the input does.

    Args:
        shown: a key of `SHOWN`.
        layer: where, "output" for the network's answer.
        series: one per model and way of moving the input.
        bump: the radius at which half of the predictions have flipped, NaN where it is not known.
    """

    title = "Stability against the size of the displacement"
    reading = (
        "The radius is how far the input moves, by a smooth deformation, by noise of the same norm, or "
        "toward another sample: the L2 norm of the change over all its values (pixels and channels), in "
        "the scale in which the network is given them, as the root mean square over samples. Where "
        "deformations lie below noise, the network is more stable to them. A vertical line, where there is "
        "one, is the radius at which half of the predictions have flipped under noise (or, where noise "
        "never flips so many, toward another sample or deformed). Bands are 95 % intervals over samples."
    )
    order = 20

    shown: str
    layer: str
    series: tuple[RadiusSeries, ...]
    bump: float

    @classmethod
    def prepare(
        cls, results: Result | Iterable[Result], *, shown: str = "response", layer: str = OUTPUT
    ) -> StabilityCurves:
        """The curves of one or several results.

        Args:
            results: from `iv.stability_curve`.
            shown: "response", "relative", "linear", "accuracy", "probability" or "flips".
            layer: "output", or a layer that was measured.
        Raises:
            ValueError: no such curves.
        """
        several = names.as_results(results)
        shown = names.choose("curve", shown, list(SHOWN))
        known = list(dict.fromkeys(found for result in several for found in _layers(result)))
        layer = names.choose("layer with stability curves", layer, known)
        series = tuple(
            found
            for name, result in zip(names.model_names(several), several, strict=True)
            for found in _series(result, shown, layer, name if len(several) > 1 else "")
        )
        if not series:
            raise ValueError(f"no curve of the {SHOWN[shown].label.lower()} of {layer!r} was measured")
        return cls(shown, layer, series, _bump(several))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Everything known of the output, then the responses of some layers."""
        with_curves = [result for result in results if _layers(result)]
        present = {name for result in with_curves for name in result.curves["measure"]}
        found = [
            View(about.label, cls.prepare(with_curves, shown=shown))
            for shown, about in SHOWN.items()
            if f"{PREFIX}.{about.curves[0][0]}" in present
        ]
        layers = list(dict.fromkeys(layer for result in with_curves for layer in _layers(result)))
        inner = [layer for layer in layers if layer != OUTPUT]
        places = np.unique(np.linspace(0, len(inner) - 1, min(MOST_LAYERS, len(inner))).round().astype(int))
        chosen = (inner[place] for place in places)
        return found + [
            View(f"Response of {layer}", cls.prepare(with_curves, layer=layer)) for layer in chosen
        ]

    def draw(self, *, theme: str = "light") -> Figure:
        """Lines with bands, the radius on a logarithmic scale."""
        from invariscope.plots.shared import static

        figure, axes, colours = static.new_figure(7.2, 4.2, theme)
        ax = axes[0, 0]
        for i, series in enumerate(self.series):
            colour = colours.series[i % len(colours.series)]
            low = np.where(series.low > 0, series.low, series.value) if self._logarithmic else series.low
            ax.fill_between(series.radius, low, series.high, color=colour, alpha=0.16, linewidth=0)
            style = {"linestyle": LINE_STYLES[DASHES[i % 4]], "marker": "o", "markersize": 3}
            ax.plot(series.radius, series.value, color=colour, label=series.name, linewidth=1.7, **style)
        ax.set_xscale("log")
        if self._logarithmic:
            ax.set_yscale("log")
        static.plain_log_ticks(ax)
        if np.isfinite(self.bump):
            ax.axvline(self.bump, color=colours.muted, linewidth=1.2, linestyle=":")
        static.horizontal_grid(ax, colours)
        static.axis_titles(ax, AXIS, SHOWN[self.shown].axis, colours)
        static.legend(ax, colours)
        return figure

    def chart(self) -> UIElement:
        """The same, interactive: radius, value and interval under the pointer."""
        from bokeh.models import Span

        from invariscope.plots.shared import interactive as live

        scale = "log" if self._logarithmic else "linear"
        chart = live.new_chart(height=340, x_axis_type="log", y_axis_type=scale)
        if np.isfinite(self.bump):
            line = Span(location=self.bump, dimension="height", line_width=1.5, line_dash="dotted")
            chart.add_layout(live.themed(line, line_color="muted"))
        sources = [_chart_series(chart, series, i) for i, series in enumerate(self.series)]
        live.axis_title(chart.xaxis[0], AXIS)
        live.axis_title(chart.yaxis[0], SHOWN[self.shown].axis)
        shown = {"curve": "@name", "radius": "@radius", "value": "@text", "95 %": "@interval"}
        for source in sources:
            live.hover_points(chart, source, shown)
        return chart

    @property
    def _logarithmic(self) -> bool:
        return SHOWN[self.shown].logarithmic


@dataclass(frozen=True)
class BumpImages(GridPlot):
    """A few inputs at the radius where predictions flip: as they are, deformed, noisy, toward another.

    Args:
        columns: the ways.
        frames: values in [0, 1], (sample, way, H, W) or (sample, way, H, W, 3).
        radius: how far they were moved, as a root mean square.
        reached: whether predictions do flip there; otherwise it is the largest radius.
    """

    title = "What inputs moved so far look like"
    reading = (
        "A few inputs, and the same moved by the radius beside each row: the one at which half of the "
        "predictions have flipped, or, where they never do, the largest."
    )
    order = 21

    columns: tuple[str, ...]
    frames: np.ndarray
    radius: float
    reached: bool

    @classmethod
    def prepare(cls, result: Result) -> BumpImages:
        """The images that the result carries.

        Raises:
            ValueError: it carries none.
        """
        kept = {k.removeprefix(EXAMPLES): a for k, a in result.examples.items() if k.startswith(EXAMPLES)}
        if not kept:
            raise ValueError("the result carries no images of a stability curve: call iv.stability_curve")
        stack = np.stack(list(kept.values()), axis=1)
        frames = np.stack([picture(row) for row in stack])
        about = result.provenance.get("curve", {})
        reached = about.get("shown_for", "largest") != "largest"
        return cls(tuple(kept), frames, float(about.get("shown_radius", np.nan)), reached)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """One for each result that carries images."""
        named = zip(names.model_names(results), results, strict=True)
        found = [(n, r) for n, r in named if any(key.startswith(EXAMPLES) for key in r.examples)]
        return [View(name if len(found) > 1 else "", cls.prepare(result)) for name, result in found]

    def grid(self) -> PixelGrid:
        """A row a sample."""
        detail = f"r = {names.number(self.radius)}" + ("" if self.reached else ", the largest")
        rows = (PixelRow(f"sample {i + 1}", detail, row) for i, row in enumerate(self.frames))
        return PixelGrid(self.columns, tuple(rows))


def _layers(result: Result) -> list[str]:
    """Layers with curves against the radius, the output first."""
    curves = result.curves
    own = curves.loc[curves["parameter"] == names.RADIUS]
    found = dict.fromkeys(names.layer_label(*pair) for pair in zip(own["layer"], own["call"], strict=True))
    return sorted(found, key=lambda layer: layer != OUTPUT)


def _series(result: Result, shown: str, layer: str, model: str) -> list[RadiusSeries]:
    table = names.where(result.curves, parameter=names.RADIUS, stratum="all")
    table["label"] = [names.layer_label(*pair) for pair in zip(table["layer"], table["call"], strict=True)]
    found = []
    for curve, way in SHOWN[shown].curves:
        prefix = PREFIX if layer == OUTPUT else f"layer_{PREFIX}"
        rows = names.where(table, measure=f"{prefix}.{curve}", label=layer).sort_values("x")
        values = [rows[name].to_numpy(float) for name in ("x", "value", "ci_low", "ci_high")]
        kept = (values[0] > 0) & np.isfinite(values[1])
        if SHOWN[shown].logarithmic:
            kept &= values[1] > 0
        if kept.any():
            name = " · ".join(part for part in (model, way) if part)
            found.append(RadiusSeries(name, *(part[kept] for part in values)))
    return found


def _bump(results: Sequence[Result]) -> float:
    """The radius of the bump, where one result is shown alone and has reached it."""
    about = results[0].provenance.get("curve", {}) if len(results) == 1 else {}
    bump = about.get("bumps", {}).get(about.get("shown_for"))
    return float("nan") if bump is None else float(bump)


def _chart_series(chart: Any, series: RadiusSeries, i: int) -> Any:
    from bokeh.models import ColumnDataSource

    from invariscope.plots.shared import interactive as live

    bounds = list(zip(series.low, series.high, strict=True))
    source = ColumnDataSource({
        "x": series.radius, "y": series.value, "name": [series.name] * len(series.value),
        "low": np.where(series.low > 0, series.low, series.value), "high": series.high,
        "radius": [names.number(r) for r in series.radius],
        "text": [names.number(v) for v in series.value],
        "interval": [names.interval(*pair) for pair in bounds],
    })  # fmt: skip
    role = f"series:{i}"
    if np.isfinite(series.high).any():
        band = chart.varea("x", "low", "high", source=source, fill_alpha=0.16)
        live.themed(band.glyph, fill_color=role)
    line = chart.line("x", "y", source=source, line_width=2, line_dash=DASHES[i % 4])
    live.themed(line.glyph, line_color=role)
    dots = chart.scatter("x", "y", source=source, size=6)
    live.themed(dots.glyph, fill_color=role, line_color="surface")
    return source
