"""Stability curves against the size of the change of the input, and images changed by that much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import ChartPlot, GridPlot, View
from invariscope.plots.shared.grid import PixelGrid, PixelRow, picture
from invariscope.plots.shared.theme import DASHES

if TYPE_CHECKING:
    from bokeh.models import UIElement

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

OUTPUT, PREFIX, EXAMPLES = "output", "stability_curve", "bump:"
MOST_LAYERS = 6
NUMBERS = {"curve": "name", "radius": "x", "value": "y", "low": "low", "high": "high"}
AXIS = "radius r (L2 norm of the change of an input)"


@dataclass(frozen=True)
class Shown:
    """Contents of one view: menu entry, y axis, curves with their names, scale, and how to read it."""

    label: str
    axis: str
    curves: tuple[tuple[str, str], ...]
    logarithmic: bool = True
    reading: str = ""


def _share(label: str, axis: str, curve: str, *, stable: str) -> Shown:
    ways = (("", "deformed"), ("_noise", "noise"), ("_toward", "toward another"))
    curves = tuple((curve + suffix, way) for suffix, way in ways)
    return Shown(label, axis, curves, logarithmic=False, reading=_BESIDE_NOISE.format(stable))


_BESIDE_NOISE = (
    "If the curve of deformations is {} that of noise, the network is more stable to deformations than to "
    "noise."
)


SHOWN = {
    "response": Shown(
        "Response",
        "squared change, relative to another sample",
        (("D", "deformed (D)"), ("G", "noise (G)"), ("G_toward", "toward another")),
        reading=_BESIDE_NOISE.format("below"),
    ),
    "relative": Shown(
        "D relative to G",
        "R = D/G",
        (("R", "R"),),
        reading="Below 1, deformations change the response less than noise of the same size does.",
    ),
    "linear": Shown(
        "G over r²",
        "G / r²",
        (("G_over_r2", "noise"), ("G_toward_over_r2", "toward another")),
        reading="The curve is flat where the response changes in proportion to the change of the input.",
    ),
    "accuracy": _share("Accuracy", "accuracy", "accuracy", stable="above"),
    "probability": _share("Probability", "probability of the true class", "probability", stable="above"),
    "flips": _share("Flips", "share of flipped predictions", "flips", stable="below"),
}


@dataclass(frozen=True)
class RadiusSeries:
    """One curve: a value at each radius, with its interval (NaN if missing).

    Args:
        colour: number of its colour: by model or, for a single model, by the way of changing the input.
        dash: its dashes, by the way of changing the input.
    """

    name: str
    colour: int
    dash: str
    radius: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class StabilityCurves(ChartPlot):
    """Plot of the change of a response, or of the predictions, against the size of the change of the input.

    Args:
        shown: a key of `SHOWN`.
        layer: the layer; "output" for the network's output.
        series: one per model and way of changing the input.
        models: names of the models; empty for a single one.
        bump: the radius at which half of the predictions have flipped, NaN if unknown.
    """

    title = "Stability against the size of the displacement"
    reading = (
        "The radius is the size of the change of the input by a smooth deformation, by noise of the same "
        "norm, or by a step toward another sample: the L2 norm of the change over all pixels and channels, "
        "in the units of the network's input, as a root mean square over samples. Bands are 95 % "
        "intervals over samples."
    )
    details = (
        "A vertical line is the radius at which half of the predictions have flipped under noise (or, if "
        "noise never flips half of them, toward another sample or under deformations)."
    )
    order = 20

    shown: str
    layer: str
    series: tuple[RadiusSeries, ...]
    models: tuple[str, ...]
    bump: float

    @classmethod
    def prepare(
        cls, results: Result | Iterable[Result], *, shown: str = "response", layer: str = OUTPUT
    ) -> StabilityCurves:
        """Collect the curves of one or several results.

        Args:
            results: results of `iv.stability_curve`.
            shown: "response", "relative", "linear", "accuracy", "probability" or "flips".
            layer: "output", or a measured layer.
        Raises:
            ValueError: no such curves.
        """
        several = names.as_results(results)
        shown = names.choose("curve", shown, list(SHOWN))
        known = list(dict.fromkeys(found for result in several for found in _layers(result)))
        layer = names.choose("layer with stability curves", layer, known)
        series = tuple(
            found
            for i, (name, result) in enumerate(zip(names.model_names(several), several, strict=True))
            for found in _series(result, shown, layer, (name, i) if len(several) > 1 else ("", None))
        )
        if not series:
            raise ValueError(f"no curve of the {SHOWN[shown].label.lower()} of {layer!r} was measured")
        models = tuple(names.model_names(several)) if len(several) > 1 else ()
        return cls(shown, layer, series, models, _bump(several))

    @staticmethod
    def ratio_label() -> str:
        """Return the menu entry of the ratio R = D/G, the published quantity."""
        return SHOWN["relative"].label

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return all views of the output, then the responses of some layers."""
        with_curves = [result for result in results if _layers(result)]
        present = {name for result in with_curves for name in result.curves["measure"]}
        found = [
            cls._view(about.label, about.reading, with_curves, shown=shown)
            for shown, about in SHOWN.items()
            if f"{PREFIX}.{about.curves[0][0]}" in present
        ]
        layers = list(dict.fromkeys(layer for result in with_curves for layer in _layers(result)))
        inner = [layer for layer in layers if layer != OUTPUT]
        return found + [
            cls._view(f"Response of {layer}", SHOWN["response"].reading, with_curves, layer=layer)
            for layer in names.evenly(inner, MOST_LAYERS)
        ]

    @classmethod
    def _view(cls, label: str, reading: str, results: Sequence[Result], **options: str) -> View:
        plot = cls.prepare(results, **options)
        line = cls.details if np.isfinite(plot.bump) else ""
        return View(label, plot, reading=f"{reading} {line}".strip())

    def paint(self, canvas: Canvas) -> None:
        """Draw lines with bands against the radius, on a logarithmic scale."""
        ax = canvas.panel(7.2, 4.2)
        for series in self.series:
            low = np.where(series.low > 0, series.low, series.value) if self._logarithmic else series.low
            bounds = series.value, low, series.high
            name = "" if self.models else series.name
            canvas.draw_curve(ax, series.colour, name, series.radius, bounds, dash=series.dash)
        ax.set_xscale("log")
        if self._logarithmic:
            ax.set_yscale("log")
        canvas.value_axis(ax)
        canvas.plain_log_ticks(ax)
        if np.isfinite(self.bump):
            ax.axvline(self.bump, color=canvas.colours.muted, linewidth=1.2, linestyle=":")
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, AXIS, SHOWN[self.shown].axis)
        networks = [canvas.line_of(name, number=i) for i, name in enumerate(self.models)]
        present = {series.dash for series in self.series} if self.models else set()
        ways = zip(SHOWN[self.shown].curves, DASHES, strict=False)
        canvas.legend(
            ax, networks + [canvas.line_of(way, dash=dash) for (_, way), dash in ways if dash in present]
        )

    def chart(self) -> UIElement:
        """Return the interactive chart; hovering shows radius, value and interval."""
        from bokeh.models import Span

        from invariscope.plots.shared import interactive as live

        scale = "log" if self._logarithmic else "linear"
        chart = live.new_chart(height=340, x_axis_type="log", y_axis_type=scale)
        if np.isfinite(self.bump):
            line = Span(location=self.bump, dimension="height", line_width=1.5, line_dash="dotted")
            chart.add_layout(live.themed(line, line_color="muted"))
        sources = [_chart_series(chart, series) for series in self.series]
        live.log_axis(chart.xaxis[0], np.concatenate([series.radius for series in self.series]))
        if self._logarithmic:
            live.log_axis(chart.yaxis[0], np.concatenate([series.value for series in self.series]))
        live.axis_title(chart.xaxis[0], AXIS)
        live.axis_title(chart.yaxis[0], SHOWN[self.shown].axis)
        shown = {"curve": "@name", "radius": "@radius", "value": "@text", "95 %": "@interval"}
        for source in sources:
            live.hover_points(chart, source, shown, NUMBERS)
        return chart

    @property
    def _logarithmic(self) -> bool:
        return SHOWN[self.shown].logarithmic


@dataclass(frozen=True)
class BumpImages(GridPlot):
    """Images of a few inputs, changed in each way by the radius at which half of the predictions flip.

    Args:
        columns: the ways of changing the input.
        frames: values in [0, 1], (sample, way, H, W) or (sample, way, H, W, 3).
        radius: the size of the change, as a root mean square over samples.
        reached: whether half of the predictions flip at this radius; if not, it is the largest one measured.
    """

    title = "Inputs at this radius"
    reading = (
        "A few inputs, and the same inputs changed by the radius given for each row: the radius at which "
        "half of the predictions have flipped, or the largest one if that never happens."
    )
    order = 21
    single = True

    columns: tuple[str, ...]
    frames: np.ndarray
    radius: float
    reached: bool

    @classmethod
    def prepare(cls, result: Result) -> BumpImages:
        """Collect the images of the result.

        Args:
            result: a result of `iv.stability_curve`; several are drawn beside each other.
        Raises:
            ValueError: the result has no images.
        """
        kept = {k.removeprefix(EXAMPLES): a for k, a in result.examples.items() if k.startswith(EXAMPLES)}
        if not kept:
            raise ValueError("the result has no images of a stability curve: call iv.stability_curve")
        stack = np.stack(list(kept.values()), axis=1)
        frames = np.stack([picture(row) for row in stack])
        about = result.provenance.get("curve", {})
        reached = about.get("shown_for", "largest") != "largest"
        return cls(tuple(kept), frames, float(about.get("shown_radius", np.nan)), reached)

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return a view per result with images."""
        named = zip(names.model_names(results), results, strict=True)
        found = [(n, r) for n, r in named if any(key.startswith(EXAMPLES) for key in r.examples)]
        return [View(name if len(found) > 1 else "", cls.prepare(result)) for name, result in found]

    def grid(self) -> PixelGrid:
        """Return a row per sample."""
        radius = f"r = {names.number(self.radius, digits=3)}" if np.isfinite(self.radius) else ""
        detail = ", ".join(part for part in (radius, "" if self.reached else "the largest") if part)
        rows = (PixelRow(f"sample {i + 1}", detail, row) for i, row in enumerate(self.frames))
        return PixelGrid(self.columns, tuple(rows))


def _layers(result: Result) -> list[str]:
    """Return the layers with curves against the radius, output first."""
    curves = result.curves
    own = curves.loc[curves["parameter"] == names.RADIUS]
    found = dict.fromkeys(names.layer_labels(own))
    return sorted(found, key=lambda layer: layer != OUTPUT)


def _series(result: Result, shown: str, layer: str, of: tuple[str, int | None]) -> list[RadiusSeries]:
    """Return the curves of a result; `of` is its model's name and number, if there are several."""
    model, number = of
    table = names.where(result.curves, parameter=names.RADIUS, stratum="all")
    table["label"] = names.layer_labels(table)
    found = []
    for k, (curve, way) in enumerate(SHOWN[shown].curves):
        prefix = PREFIX if layer == OUTPUT else f"layer_{PREFIX}"
        rows = names.where(table, measure=f"{prefix}.{curve}", label=layer).sort_values("x")
        values = [rows[name].to_numpy(float) for name in ("x", "value", "ci_low", "ci_high")]
        kept = (values[0] > 0) & np.isfinite(values[1])
        if SHOWN[shown].logarithmic:
            kept &= values[1] > 0
        if kept.any():
            name = " · ".join(part for part in (model, way) if part)
            colour = k if number is None else number
            found.append(RadiusSeries(name, colour, DASHES[k], *(part[kept] for part in values)))
    return found


def _bump(results: Sequence[Result]) -> float:
    """Return the radius at which half of the predictions flip; NaN if unknown or for several results."""
    about = results[0].provenance.get("curve", {}) if len(results) == 1 else {}
    bump = about.get("bumps", {}).get(about.get("shown_for"))
    return float("nan") if bump is None else float(bump)


def _chart_series(chart: Any, series: RadiusSeries) -> Any:
    from invariscope.plots.shared import interactive as live

    columns = {
        "x": series.radius, "y": series.value, "name": [series.name] * len(series.value),
        "low": np.where(series.low > 0, series.low, series.value), "high": series.high,
        "radius": list(map(names.number, series.radius)), "text": list(map(names.number, series.value)),
        "interval": names.intervals(series.low, series.high),
    }  # fmt: skip
    return live.curve(chart, columns, series.colour, dash=series.dash)
