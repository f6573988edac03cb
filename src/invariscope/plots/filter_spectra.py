"""Filter spectra over a training: does training make filters pool?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from invariscope.registry import unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from invariscope.plots.shared.theme import Theme

_NEEDED = {"epoch", "layer", "eigenvalue", "ratio"}


@dataclass(frozen=True)
class FilterSpectra:
    """A panel per layer: over epochs, the power of each frequency as a ratio to the first epoch.

    Lines run from λ = 0, dark, to the highest frequency, bright. It is drawn from weights, not from a
    result, and so has no place in a report.

    Args:
        layers: the panels.
        epochs: (epoch,) of all panels.
        eigenvalues: for each layer, (eigenspace,).
        ratios: for each layer, (eigenspace, epoch); NaN where there is none.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, figure of filters over training.
    """

    layers: tuple[str, ...]
    epochs: np.ndarray
    eigenvalues: tuple[np.ndarray, ...]
    ratios: tuple[np.ndarray, ...]

    @classmethod
    def prepare(cls, table: pd.DataFrame, *, layers: tuple[str, ...] | None = None) -> FilterSpectra:
        """The ratios in a table of spectra.

        Args:
            table: what `iv.weights.training_spectra` or a `SpectrumRecorder` gives.
            layers: which panels; None: all.
        Raises:
            ValueError: no such table, or no such layer.
        """
        if missing := sorted(_NEEDED - set(table.columns)):
            raise ValueError(
                f"the table has no columns {', '.join(missing)}: take it from iv.weights.training_spectra "
                "or from a SpectrumRecorder."
            )
        known = tuple(dict.fromkeys(table["layer"]))
        for layer in layers or ():
            if layer not in known:
                raise unknown("layer", layer, known)
        chosen = layers or known
        epochs = np.array(sorted(set(table["epoch"])))
        wide = [
            table[table["layer"] == layer]
            .pivot(index="eigenvalue", columns="epoch", values="ratio")
            .reindex(columns=epochs)
            for layer in chosen
        ]
        eigenvalues = tuple(part.index.to_numpy(float) for part in wide)
        return cls(chosen, epochs, eigenvalues, tuple(part.to_numpy(float) for part in wide))

    def draw(self, *, theme: str = "light") -> Figure:
        """The panels beside each other, on one logarithmic scale; a line at the start's power."""
        from invariscope.plots.shared import static

        count = len(self.layers)
        figure, axes, colours = static.new_figure(0.8 + 4.2 * count, 3.4, theme, columns=count)
        for place, ax in enumerate(axes[0]):
            self._panel(ax, place, colours)
        static.axis_titles(axes[0, 0], "epoch", "power / power at the start", colours)
        return figure

    def save(self, path: str | Path, *, theme: str = "light") -> None:
        """Draws and writes the figure; the file's suffix (svg, pdf, png) gives the format."""
        self.draw(theme=theme).savefig(path)

    def _panel(self, ax: Axes, place: int, colours: Theme) -> None:
        from matplotlib import colormaps
        from matplotlib.ticker import MaxNLocator

        from invariscope.plots.shared import static

        eigenvalues, ratios = self.eigenvalues[place], self.ratios[place]
        scale = colormaps[static.COLOUR_MAP]
        ax.axhline(1, color=colours.line, linewidth=1)
        # The scale's end that would vanish in the surface is left out.
        low, high = (0.3, 1.0) if colours.name == "dark" else (0.0, 0.9)
        places = low + (high - low) * eigenvalues / max(float(eigenvalues[-1]), 1.0)
        ends = (0, len(eigenvalues) - 1)
        for number, (eigenvalue, ratio) in enumerate(zip(eigenvalues, ratios, strict=True)):
            label = f"λ = {eigenvalue:.3g}" if len(eigenvalues) <= 8 or number in ends else None
            ax.plot(self.epochs, ratio, color=scale(places[number]), linewidth=1.6, label=label)
        if (ratios > 0).any():
            ax.set_yscale("log")
            ax.tick_params(which="both", colors=colours.muted, labelsize=static.SMALL_SIZE, length=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        static.heading(ax, self.layers[place], colours)
        static.axis_titles(ax, "epoch", "", colours)
        ax.legend(
            loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=static.SMALL_SIZE,
            labelcolor=colours.text, handlelength=1.2,
        )  # fmt: skip
