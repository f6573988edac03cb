"""Plot of the compression, shear and rotation in an ensemble of displacement fields against patch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.base import Plot, View
from invariscope.plots.shared.theme import DASHES, LINE_STYLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

PREFIX = "local_decomposition."
MARKERS = "os^D"


@dataclass(frozen=True)
class PartSeries:
    """One part of the fields, such as the shear, with one entry per patch size."""

    name: str
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Panel:
    """Parts of the fields that share an axis.

    Args:
        title: title of the axis.
        series: the parts.
        theory: theoretical values for patches much smaller than the wavelengths, by name.
    """

    title: str
    series: tuple[PartSeries, ...]
    theory: dict[str, float]


_PANELS = (
    ("share of the squared gradient", ("share_compression", "share_shear", "share_rotation"),
     {"1/4": 0.25, "1/2": 0.5}),
    ("ratio of mean norms", ("shear_to_compression", "rotation_to_compression"), {"π/2": np.pi / 2, "1": 1}),
    ("share that is not linear", ("leftover",), {}),
)  # fmt: skip


@dataclass(frozen=True)
class PartsByPatchSize(Plot, name="local_decomposition"):
    """Plot of shares of the squared gradient, ratios of norms, and the nonlinear share against patch size.

    Args:
        name: name of the ensemble.
        patch_px: sides of the patches.
        panels: the three panels.
    """

    title = "Smooth fields on patches"
    reading = (
        "Action of random smooth fields on a patch, without translation: shares of the squared gradient, "
        "mean norms relative to compression, and the share of the displacement that is not linear. Dotted "
        "lines are theoretical values for patches much smaller than the wavelengths. Bars are 95 % intervals "
        "over fields."
    )
    order = 92
    single = True

    name: str
    patch_px: np.ndarray
    panels: tuple[Panel, ...]

    @classmethod
    def prepare(cls, result: Result) -> PartsByPatchSize:
        """Collect all parts of one ensemble.

        Args:
            result: a result of a "decompose" cell of a recipe; several are drawn beside each other.
        Raises:
            ValueError: the result contains no such values.
        """
        curves = names.where(result.curves, layer="fields")
        names.choose("decomposition of fields", None, [m for m in curves["measure"] if m.startswith(PREFIX)])
        patches = np.unique(curves["x"].to_numpy(float))
        panels = []
        for title, parts, theory in _PANELS:
            series = [
                PartSeries(part.replace("_", " "), *_values(curves, PREFIX + part, patches)) for part in parts
            ]
            panels.append(Panel(title, tuple(series), theory))
        return cls(result.name, patches, tuple(panels))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return one view per result that contains local decompositions."""
        named = zip(names.model_names(results), results, strict=True)
        return [View(name, cls.prepare(result)) for name, result in named if _has_parts(result)]

    def paint(self, canvas: Canvas) -> None:
        """Draw the panels side by side."""
        axes = canvas.panels(11.0, 3.6, columns=len(self.panels))
        for ax, panel in zip(axes[0], self.panels, strict=True):
            self._draw_panel(ax, panel, canvas)

    def _draw_panel(self, ax: Axes, panel: Panel, canvas: Canvas) -> None:
        for text, value in panel.theory.items():
            ax.axhline(value, color=canvas.colours.muted, linewidth=1.1, linestyle=":")
            ax.annotate(
                text, (1, value), xycoords=("axes fraction", "data"), xytext=(3, 0),
                textcoords="offset points", va="center", color=canvas.colours.muted,
                fontsize=canvas.colours.small_size,
            )  # fmt: skip
        for i, series in enumerate(panel.series):
            colour = canvas.colour(i)
            ax.vlines(self.patch_px, series.low, series.high, color=colour, linewidth=2.4, alpha=0.5)
            ax.plot(
                self.patch_px, series.value, color=colour, linewidth=1.5, markersize=5, label=series.name,
                linestyle=LINE_STYLES[DASHES[i % 4]], marker=MARKERS[i % 4],
            )  # fmt: skip
        ax.set_xscale("log", base=2)
        ax.set_xticks(self.patch_px, [f"{side:g}" for side in self.patch_px])
        ax.minorticks_off()
        ax.set_ylim(0)
        canvas.horizontal_grid(ax)
        canvas.axis_titles(ax, "side of a patch (pixels)", panel.title)
        canvas.legend(ax)


def _has_parts(result: Result) -> bool:
    return any(row["measure"].startswith(PREFIX) for row in result.curve_rows)


def _values(curves: pd.DataFrame, measure: str, patches: np.ndarray) -> tuple[np.ndarray, ...]:
    rows = names.where(curves, measure=measure).set_index("x").reindex(patches)
    return tuple(rows[column].to_numpy(float) for column in ("value", "ci_low", "ci_high"))
