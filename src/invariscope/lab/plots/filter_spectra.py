"""Spectra of filters over the course of training, which show whether filters learn to pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.registry import unknown
from invariscope.plots.shared.base import Plot, View
from invariscope.plots.shared.labels import model_names

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from invariscope.plots.shared.canvas import Canvas
    from invariscope.results.result import Result

RATIO, MOST = "filter_spectrum.ratio", 4
_NEEDED = {"epoch", "layer", "eigenvalue", "ratio"}


@dataclass(frozen=True)
class FilterSpectra(Plot):
    """Plot of the power of filters at each frequency over epochs, relative to the first, a panel per layer.

    Line colours run from λ = 0 (dark) to the highest frequency (bright).

    Args:
        layers: layer of each panel.
        epochs: (epoch,), shared by all panels.
        eigenvalues: (eigenspace,) per layer.
        ratios: (eigenspace, epoch) per layer; NaN if missing.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, figure of filters over training.
    """

    title = "Filters over training"
    reading = (
        "Each line is the power of a layer's filters at one spatial frequency of the filter's pixels, "
        "relative to the start of training. λ = 0 is the mean over the filter, the largest λ the contrast "
        "between neighbours. If the line of λ = 0 rises most, training has made the filters average over "
        "neighbouring pixels."
    )
    order = 64
    single = True

    layers: tuple[str, ...]
    epochs: np.ndarray
    eigenvalues: tuple[np.ndarray, ...]
    ratios: tuple[np.ndarray, ...]

    @classmethod
    def prepare(
        cls, result: Result | pd.DataFrame, *, layers: Sequence[str] | None = None, most: int = MOST
    ) -> FilterSpectra:
        """Collect the ratios from a table of spectra, or from a result.

        Args:
            result: the table of `iv.weights.training_spectra` or of a `SpectrumRecorder`, or a result of the
                recipe analysis `filter_spectrum`; several are drawn beside each other.
            layers: layer of each panel; None: all layers of a table, or at most `most` layers of a result.
            most: maximum number of panels from a result, whose layers are evenly spaced.
        Raises:
            ValueError: missing columns, a result without such spectra, or an unknown layer.
        """
        table: Any = result if hasattr(result, "columns") else _table(result)
        if missing := sorted(_NEEDED - set(table.columns)):
            raise ValueError(
                f"the table lacks the columns {', '.join(missing)}: use the table of "
                "iv.weights.training_spectra or of a SpectrumRecorder."
            )
        known = tuple(dict.fromkeys(table["layer"]))
        for layer in layers or ():
            if layer not in known:
                raise unknown("layer", layer, known)
        chosen = tuple(layers) if layers else known
        if not layers and table is not result:
            places = np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).round().astype(int))
            chosen = tuple(known[place] for place in places)
        epochs = np.array(sorted(set(table["epoch"])))
        wide = [
            table[table["layer"] == layer]
            .pivot(index="eigenvalue", columns="epoch", values="ratio")
            .reindex(columns=epochs)
            for layer in chosen
        ]
        eigenvalues = tuple(part.index.to_numpy(float) for part in wide)
        return cls(chosen, epochs, eigenvalues, tuple(part.to_numpy(float) for part in wide))

    @classmethod
    def views(cls, results: Sequence[Result]) -> list[View]:
        """Return one view per result that contains filter spectra."""
        named = zip(model_names(results), results, strict=True)
        found = [(name, result) for name, result in named if any(_ratios(result))]
        return [View(name if len(found) > 1 else "", cls.prepare(result)) for name, result in found]

    def paint(self, canvas: Canvas) -> None:
        """Draw the panels side by side on logarithmic scales, with a horizontal line at the initial power."""
        count = len(self.layers)
        axes = canvas.panels(0.8 + 4.2 * count, 3.4, columns=count)
        for place, ax in enumerate(axes[0]):
            self._panel(ax, place, canvas, legend=place == count - 1 or not self._alike)

    @property
    def _alike(self) -> bool:
        """Whether all panels show the same frequencies, so that one legend is enough."""
        return all(np.array_equal(values, self.eigenvalues[0]) for values in self.eigenvalues)

    def _panel(self, ax: Axes, place: int, canvas: Canvas, *, legend: bool) -> None:
        from matplotlib import colormaps
        from matplotlib.ticker import MaxNLocator

        eigenvalues, ratios = self.eigenvalues[place], self.ratios[place]
        scale = colormaps[canvas.look.cmap]
        ax.axhline(1, color=canvas.colours.line, linewidth=1)
        # Leave out the end of the colour scale that is close to the background colour.
        low, high = (0.3, 1.0) if canvas.colours.name == "dark" else (0.0, 0.9)
        places = low + (high - low) * eigenvalues / max(float(eigenvalues[-1]), 1.0)
        ends = (0, len(eigenvalues) - 1)
        for number, (eigenvalue, ratio) in enumerate(zip(eigenvalues, ratios, strict=True)):
            label = f"λ = {eigenvalue:.3g}" if len(eigenvalues) <= 8 or number in ends else None
            ax.plot(self.epochs, ratio, color=scale(places[number]), linewidth=1.6, label=label)
        if (ratios > 0).any():
            ax.set_yscale("log")
            canvas.plain_log_ticks(ax)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        canvas.heading(ax, self.layers[place])
        canvas.axis_titles(ax, "epoch", "" if place and not canvas.narrow else "power / power at the start")
        if not legend:
            return
        ax.legend(
            loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=canvas.colours.small_size,
            labelcolor=canvas.colours.text, handlelength=1.2,
        )  # fmt: skip


def _ratios(result: Any) -> list[dict[str, Any]]:
    """Return the curve rows of a result that contain spectra relative to the start of training."""
    return [row for row in result.curve_rows if row["measure"] == RATIO]


def _table(result: Any) -> pd.DataFrame:
    """Return one row per point, with the epoch of each stage."""
    import pandas as pd

    epochs = result.provenance.get("weights", {}).get("epochs", {})
    rows = [
        {"epoch": epochs.get(row["stratum"], 0), "layer": row["layer"], "eigenvalue": row["x"],
         "ratio": row["value"]}
        for row in _ratios(result)
    ]  # fmt: skip
    if not rows:
        raise ValueError("the result has no filter spectra relative to the start of training")
    return pd.DataFrame(rows)
